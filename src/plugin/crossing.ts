import type { ErrorCode } from "../protocol/errors.ts";
import { GatewayError } from "../protocol/errors.ts";

/** What the gateway's thread tells the worker of an isolated plug-in. */
export type ToIsolate =
  | {
      readonly op: "load";
      readonly path: string;
      readonly gateway: { readonly name: string; readonly version: string };
    }
  /** Calls the function at `at`; the last argument it gets is a context with these fields. */
  | {
      readonly op: "call";
      readonly id: number;
      readonly at: readonly string[];
      readonly args: readonly Crossing[];
      readonly context: Readonly<Record<string, unknown>>;
    }
  /** Nobody waits for that call any more. */
  | { readonly op: "abort"; readonly id: number }
  /** What the gateway answers to `ask`. */
  | { readonly op: "answer"; readonly id: number; readonly outcome: Outcome };

/** What that worker tells the gateway. */
export type FromIsolate =
  | { readonly op: "loaded"; readonly plugin: unknown }
  | { readonly op: "unloadable"; readonly error: ErrorText }
  | { readonly op: "answer"; readonly id: number; readonly outcome: Outcome }
  | {
      readonly op: "ask";
      readonly id: number;
      readonly what: "call" | "broadcast";
      readonly args: readonly unknown[];
    }
  | {
      readonly op: "log";
      readonly level: "debug" | "info" | "warn" | "error";
      readonly fields: Record<string, unknown>;
      readonly message: string;
    }
  | { readonly op: "fault"; readonly what: string; readonly error: ErrorText };

export type Outcome =
  | { readonly ok: true; readonly value: Crossing }
  | { readonly ok: false; readonly error: ErrorText };

/** An error, as it crosses. */
export interface ErrorText {
  readonly message: string;
  readonly stack?: string | undefined;
  /** Of a GatewayError. */
  readonly reason?: ErrorCode;
  readonly details?: Record<string, unknown> | undefined;
  readonly retryable?: boolean;
  readonly retry_after_ms?: number | undefined;
}

export function errorText(error: unknown): ErrorText {
  if (error instanceof GatewayError) {
    const { message, reason, details, retryable, retry_after_ms } = error;
    return { message, reason, details, retryable, retry_after_ms };
  }
  if (error instanceof Error) return { message: error.message, stack: error.stack };
  return { message: String(error) };
}

export function toError(text: ErrorText): Error {
  const { message, stack, reason, details, retryable, retry_after_ms } = text;
  if (reason === undefined) return Object.assign(new Error(message), stack !== undefined && { stack });
  return new GatewayError(reason, message, {
    ...(details !== undefined && { details }),
    ...(retryable !== undefined && { retryable }),
    ...(retry_after_ms !== undefined && { retry_after_ms }),
  });
}

/** A value, as it crosses. */
export type Crossing =
  | { readonly value: unknown }
  | {
      readonly request: readonly [url: string, init: HttpInit & { readonly method: string }];
    }
  | { readonly response: readonly [body: ArrayBuffer, init: HttpInit & { readonly status: number }] };
interface HttpInit {
  readonly headers: readonly [string, string][];
  readonly body?: ArrayBuffer;
}

export async function packValue(value: unknown): Promise<Crossing> {
  if (value instanceof Request) {
    const { url, method, body } = value;
    const headers = [...value.headers];
    const whole = body === null ? {} : { body: await value.arrayBuffer() };
    return { request: [url, { method, headers, ...whole }] };
  }
  if (value instanceof Response) {
    const { status } = value;
    return { response: [await value.arrayBuffer(), { status, headers: [...value.headers] }] };
  }
  return { value };
}

export function unpackValue(packed: Crossing): unknown {
  if ("request" in packed) {
    const [url, { headers, ...init }] = packed.request;
    return new Request(url, { ...init, headers: [...headers] });
  }
  if ("response" in packed) {
    const [body, { status, headers }] = packed.response;
    // Some statuses have no body, not even an empty one.
    return new Response(body.byteLength === 0 ? null : body, { status, headers: [...headers] });
  }
  return packed.value;
}

/** An object of a plug-in's definition; keys that are symbols known to everybody are kept, TypeBox has some. */
interface PackedObject {
  readonly fields: Readonly<Record<string, unknown>>;
  readonly symbols: Readonly<Record<string, unknown>>;
}
/** In the place of a function. */
const FUNCTION = { function: true } as const;
const DEPTH_MAX = 64;

/** A definition without its functions, whose places are marked. @throws Error where it nests too deep */
export function packPlugin(value: unknown, depth = 0): unknown {
  if (depth > DEPTH_MAX) throw new Error(`it nests deeper than ${DEPTH_MAX}`);
  if (typeof value === "function") return FUNCTION;
  if (typeof value === "symbol") throw new Error("a symbol cannot cross into another thread");
  if (Array.isArray(value)) return value.map((each) => packPlugin(each, depth + 1));
  if (typeof value !== "object" || value === null) return value;
  const fields: Record<string, unknown> = {};
  const symbols: Record<string, unknown> = {};
  for (const key of Reflect.ownKeys(value)) {
    const packed = packPlugin((value as Record<PropertyKey, unknown>)[key], depth + 1);
    if (typeof key === "string") fields[key] = packed;
    else {
      const name = Symbol.keyFor(key);
      if (name !== undefined) symbols[name] = packed;
    }
  }
  return { fields, symbols } satisfies PackedObject;
}

/** The definition, with what `functionAt` gives for the place of each function. */
export function unpackPlugin(
  packed: unknown,
  functionAt: (at: readonly string[]) => unknown,
  at: readonly string[] = [],
): unknown {
  if (Array.isArray(packed))
    return packed.map((each, i) => unpackPlugin(each, functionAt, [...at, String(i)]));
  if (typeof packed !== "object" || packed === null) return packed;
  if ("function" in packed) return functionAt(at);
  const { fields, symbols } = packed as PackedObject;
  const value: Record<PropertyKey, unknown> = {};
  for (const [key, each] of Object.entries(fields)) value[key] = unpackPlugin(each, functionAt, [...at, key]);
  for (const [name, each] of Object.entries(symbols)) {
    value[Symbol.for(name)] = unpackPlugin(each, functionAt, [...at, name]);
  }
  return value;
}
