import type { TObject, TSchema } from "@sinclair/typebox";
import type { Limits } from "../core/limits.ts";
import type { Clock } from "../core/ports.ts";
import { GatewayError } from "../protocol/errors.ts";
import type { BodyMeter } from "./stranger-bodies.ts";
import { takenBytes } from "./unread-body.ts";
import { isTooDeep, tooDeep } from "../protocol/frames.ts";

export interface InputDeps {
  readonly limits: Limits;
  readonly clock: Clock;
}

/** The JSON object a request carries; `{}` without a body. @throws GatewayError INVALID_REQUEST, TOO_LARGE, TIMEOUT */
export async function readObject(
  deps: InputDeps,
  request: Request,
  meter?: BodyMeter,
): Promise<Record<string, unknown>> {
  const bytes = await readBody(deps, request, meter);
  if (bytes.length === 0) return {};
  checkType(request.headers);
  return parseObject(bytes, deps.limits.json_depth);
}

/**
 * Everything a request carries. `meter`: who sends it has not said who they are.
 * @throws GatewayError TOO_LARGE, TIMEOUT, INVALID_REQUEST for one that breaks off, RATE_LIMITED by the meter
 */
export async function readBody(
  deps: InputDeps,
  request: Request,
  meter?: BodyMeter,
): Promise<Uint8Array<ArrayBuffer>> {
  const { body_bytes } = deps.limits;
  if (Number(request.headers.get("content-length") ?? 0) > body_bytes) throw tooLarge(deps);
  if (request.body === null) return new Uint8Array();
  return readBytes(deps, request.body, meter);
}

function checkType(headers: Headers): void {
  const type = (headers.get("content-type") ?? "").split(";", 1)[0]?.trim().toLowerCase() ?? "";
  const encoding = headers.get("content-encoding") ?? "identity";
  if ((type === "application/json" || type.endsWith("+json")) && encoding === "identity") return;
  throw new GatewayError(
    "INVALID_REQUEST",
    "send the body as Content-Type: application/json, not compressed",
    {
      details: { kind: "content_type" },
      http: 415,
    },
  );
}

async function readBytes(
  deps: InputDeps,
  body: ReadableStream<Uint8Array<ArrayBuffer>>,
  meter?: BodyMeter,
): Promise<Uint8Array<ArrayBuffer>> {
  const reader = body.getReader();
  let late = false;
  const cancel = deps.clock.after(deps.limits.body_deadline_ms, () => {
    late = true;
    void reader.cancel().catch(() => undefined);
  });
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  let size = 0;
  let refused: GatewayError | null = null;
  try {
    for (let next = await reader.read(); !next.done; next = await reader.read()) {
      size += next.value.length;
      if (size <= deps.limits.body_bytes) refused ??= meter?.add(next.value.length) ?? null;
      // Who is refused is read to the end all the same, so that they read why.
      if (refused !== null) chunks.length = 0;
      else if (size <= deps.limits.body_bytes) chunks.push(next.value);
      if (size > takenBytes(deps.limits)) break;
      // Pieces of a byte each cost 15 times as much one by one; while nobody asks for them they are put together.
      if (chunks.length > 1) await new Promise((resolve) => setImmediate(resolve));
    }
  } catch (error) {
    throw new GatewayError("INVALID_REQUEST", "the body broke off", {
      details: { kind: "body" },
      cause: error,
    });
  } finally {
    cancel();
    meter?.end();
  }
  if (refused !== null) throw refused;
  if (size > deps.limits.body_bytes) throw tooLarge(deps);
  if (late) throw tooSlow(deps);
  return chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks, size);
}

function tooSlow({ limits: { body_deadline_ms } }: InputDeps): GatewayError {
  const message = `the body took longer than ${body_deadline_ms} ms (limits.body_deadline_ms)`;
  return new GatewayError("TIMEOUT", message, {
    details: { kind: "body" },
    limit: { what: "body_deadline_ms", limit: body_deadline_ms },
  });
}

function tooLarge({ limits: { body_bytes } }: InputDeps): GatewayError {
  return new GatewayError("TOO_LARGE", `the body may have ${body_bytes} bytes (limits.body_bytes)`, {
    details: { kind: "body" },
    limit: { what: "body_bytes", limit: body_bytes },
  });
}

function parseObject(bytes: Uint8Array, json_depth: number): Record<string, unknown> {
  let value: unknown;
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    if (isTooDeep(text, json_depth)) throw tooDeep(json_depth);
    value = JSON.parse(text);
  } catch (error) {
    if (error instanceof GatewayError) throw error;
    throw notAnObject("json", "the body is not JSON in UTF-8");
  }
  if (value !== null && typeof value === "object" && !Array.isArray(value))
    return value as Record<string, unknown>;
  throw notAnObject("params", "the body must be a JSON object");
}

function notAnObject(kind: string, message: string): GatewayError {
  return new GatewayError("INVALID_REQUEST", message, { details: { kind } });
}

/**
 * The query as params: each field of the schema that is not in `taken`, in the schema's type.
 * @throws GatewayError INVALID_REQUEST for a parameter that is unknown or there twice
 */
export function readQuery(
  query: URLSearchParams,
  schema: TObject,
  taken: ReadonlySet<string>,
): Record<string, unknown> {
  const params: Record<string, unknown> = {};
  for (const [name, text] of query) {
    const field =
      Object.hasOwn(schema.properties, name) && !taken.has(name) ? schema.properties[name] : undefined;
    if (field === undefined) throw unknownParameter(name);
    if (Object.hasOwn(params, name)) {
      throw new GatewayError("INVALID_REQUEST", `?${name}= is there twice`, {
        details: { kind: "duplicate", path: name },
      });
    }
    params[name] = typed(field, text);
  }
  return params;
}

/** Refuses whatever is in the query beside `known`. @throws GatewayError INVALID_REQUEST */
export function onlyParameters(query: URLSearchParams, known: readonly string[]): void {
  for (const name of query.keys()) if (!known.includes(name)) throw unknownParameter(name);
}

function unknownParameter(name: string): GatewayError {
  const path = name.slice(0, 64);
  return new GatewayError("INVALID_REQUEST", `unknown parameter "${path}": remove it, or see GET /docs`, {
    details: { kind: "unknown_field", path },
    http: 422,
  });
}

/** Text the schema would not take as it is stays text, so that validation names the field. */
function typed(schema: TSchema, text: string): unknown {
  const type = (schema as { type?: unknown }).type;
  if (type === "integer" && /^-?\d{1,16}$/.test(text)) return Number(text);
  if (type === "boolean" && (text === "true" || text === "false")) return text === "true";
  return text;
}
