import type { Static, TSchema } from "@sinclair/typebox";
import { Type } from "@sinclair/typebox";
import type { TypeCheck } from "@sinclair/typebox/compiler";
import { TypeCompiler } from "@sinclair/typebox/compiler";
import { GatewayError } from "./errors.ts";

export const PROTOCOL_VERSION = 1;

export const SCOPES = [
  "chat.read",
  "chat.write",
  "tools.approve",
  "system.read",
  "sessions.manage",
  "devices.manage",
  "clients.manage",
  "events.broadcast",
  "admin",
] as const;
export type Scope = (typeof SCOPES)[number];
export const ScopeSchema = Type.Union(
  SCOPES.map((scope) => Type.Literal(scope)),
  { description: "A permission." },
);

/** Integer milliseconds since 1970-01-01 UTC. */
export const Timestamp = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });
/** One that a date can be made of. */
export const Moment = Type.Integer({ minimum: 0, maximum: 8_640_000_000_000_000 });
/** Position in a session's log: 0 is before the first event. */
export const Seq = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });
export const Epoch = Type.String({ pattern: "^[a-z0-9]{8}$" });
/** A session id in a request: the gateway's `ses_…` or the owner's own name for it. */
export const SessionId = Type.String({ pattern: "^[A-Za-z0-9._:-]{1,128}$" });
/** An id the gateway made: opaque. */
export const Id = Type.String({ minLength: 1, maxLength: 128 });
export const User = Type.String({ pattern: "^[A-Za-z0-9._@+-]{1,128}$" });
export const IdempotencyKey = Type.String({ minLength: 1, maxLength: 128 });
export const Metadata = Type.Record(Type.String({ maxLength: 128 }), Type.Unknown());
export const Empty = Type.Object({}, { additionalProperties: false });

/** An object schema for params: unknown fields are refused. */
export function Params<T extends Record<string, TSchema>>(properties: T) {
  return Type.Object(properties, { additionalProperties: false });
}

const compiled = new WeakMap<TSchema, TypeCheck<TSchema>>();

/** The compiled validator of a schema, made at its first use. */
export function validator<T extends TSchema>(schema: T): TypeCheck<T> {
  let check = compiled.get(schema);
  if (check === undefined) {
    check = TypeCompiler.Compile(schema);
    compiled.set(schema, check);
  }
  return check as TypeCheck<T>;
}

/**
 * Checks params against their schema.
 * @throws GatewayError INVALID_REQUEST with `{kind:"unknown_field"|"schema", path}`; never echoes the value.
 */
export function validate<T extends TSchema>(schema: T, value: unknown): Static<T> {
  const check = validator(schema);
  if (check.Check(value)) return value;
  const first = check.Errors(value).First();
  const path = (first?.path ?? "").replace(/^\//, "").replaceAll("/", ".");
  const unknown = first !== undefined && first.message.startsWith("Unexpected property");
  throw new GatewayError(
    "INVALID_REQUEST",
    unknown
      ? `unknown field "${path}": remove it, or see system.describe for the fields of this method`
      : `${path === "" ? "params" : path}: ${lowerFirst(first?.message ?? "is not valid")}`,
    { details: { kind: unknown ? "unknown_field" : "schema", path }, http: 422 },
  );
}

function lowerFirst(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1);
}
