import type { ErrorBody } from "./errors.ts";
import { GatewayError } from "./errors.ts";

/** What a client sends. `params` is `{}` when absent. */
export interface RequestFrame {
  readonly id: string;
  readonly method: string;
  readonly params: unknown;
  /** W3C trace context that the request belongs to. */
  readonly traceparent?: string;
}
export interface ResponseFrame {
  type: "res";
  id: string;
  ok: boolean;
  payload?: unknown;
  error?: ErrorBody;
}
export interface EventFrame {
  type: "event";
  event: string;
  ts: number;
  payload: Record<string, unknown>;
  session_id?: string;
  epoch?: string;
  seq?: number;
  run_id?: string;
}

export type Decoded =
  | { ok: true; frame: RequestFrame }
  | { ok: false; id: string | null; error: GatewayError; json: boolean };

const MAX_ID = 64;

/**
 * Reads one client frame that nests at most `json_depth` levels. Total: never throws; `json` says whether the text was
 * JSON at all.
 */
export function decode(raw: string | Uint8Array, json_depth: number): Decoded {
  if (typeof raw !== "string") {
    return refuse(null, false, "send text frames: binary ones are not part of the protocol", "binary");
  }
  if (isTooDeep(raw, json_depth)) return { ok: false, id: null, json: true, error: tooDeep(json_depth) };
  let value: unknown;
  try {
    value = JSON.parse(raw);
  } catch {
    return refuse(null, false, 'not JSON: send {"type":"req","id":"1","method":"…","params":{…}}', "json");
  }
  if (value === null || typeof value !== "object" || Array.isArray(value)) {
    return refuse(null, true, "a frame is a JSON object", "frame");
  }
  const { type, id, method, params, traceparent } = value as Record<string, unknown>;
  const known = typeof id === "string" && id.length >= 1 && id.length <= MAX_ID ? id : null;
  if (type !== "req") return refuse(known, true, 'type must be "req"', "type");
  if (known === null) return refuse(null, true, `id must be a string of 1 to ${MAX_ID} characters`, "id");
  if (typeof method !== "string" || method.length > 128)
    return refuse(known, true, "method must be a string", "method");
  if (params !== undefined && (params === null || typeof params !== "object" || Array.isArray(params))) {
    return refuse(known, true, "params must be an object, or absent", "params");
  }
  const frame = { id: known, method, params: params ?? {} };
  return { ok: true, frame: typeof traceparent === "string" ? { ...frame, traceparent } : frame };
}

function refuse(id: string | null, json: boolean, message: string, kind: string): Decoded {
  return { ok: false, id, json, error: new GatewayError("INVALID_REQUEST", message, { details: { kind } }) };
}

/** What JSON reads that nests deeper than allowed. */
export function tooDeep(json_depth: number): GatewayError {
  return new GatewayError("INVALID_REQUEST", `JSON deeper than ${json_depth} levels`, {
    details: { kind: "depth" },
    limit: { what: "json_depth", limit: json_depth },
  });
}

/** Whether JSON text nests deeper than allowed; looks at brackets outside strings only, before any parse. */
export function isTooDeep(text: string, limit: number): boolean {
  let depth = 0;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c === 34 /* " */) {
      i = endOfString(text, i);
    } else if (c === 123 /* { */ || c === 91 /* [ */) {
      if (++depth > limit) return true;
    } else if (c === 125 /* } */ || c === 93 /* ] */) depth--;
  }
  return false;
}

/** Index of the quote that closes the string opened at `start`; the text's end if none does. */
function endOfString(text: string, start: number): number {
  let end = start;
  for (;;) {
    end = text.indexOf('"', end + 1);
    if (end === -1) return text.length;
    let slashes = 0;
    while (text.charCodeAt(end - 1 - slashes) === 92 /* \ */) slashes++;
    if (slashes % 2 === 0) return end;
  }
}

export function encodeOk(id: string, payload: unknown): string {
  return `{"type":"res","id":${JSON.stringify(id)},"ok":true,"payload":${JSON.stringify(payload ?? {})}}`;
}

/** As encodeOk, with a payload that is JSON text already. */
export function encodeOkText(id: string, payload: string): string {
  return `{"type":"res","id":${JSON.stringify(id)},"ok":true,"payload":${payload}}`;
}

export function encodeError(id: string | null, error: GatewayError): string {
  return `{"type":"res","id":${JSON.stringify(id)},"ok":false,"error":${JSON.stringify(error.toBody())}}`;
}

/** A durable event as it is stored: `payload` is JSON text, made once. */
export interface StoredEvent {
  readonly seq: number;
  readonly ts: number;
  readonly type: string;
  readonly run_id: string | null;
  readonly payload: string;
}

/** The frame of a durable event: the same bytes on every transport, for one naming of the session. */
export function encodeEvent(sessionId: string, epoch: string, event: StoredEvent): string {
  const run = event.run_id === null ? "" : `,"run_id":"${event.run_id}"`;
  return `{"type":"event","event":"${event.type}","session_id":"${sessionId}","epoch":"${epoch}","seq":${event.seq},"ts":${event.ts}${run},"payload":${event.payload}}`;
}

/** The frame of a signal; `sessionId` where it concerns one session. */
export function encodeSignal(type: string, ts: number, payload: unknown, sessionId?: string): string {
  const session = sessionId === undefined ? "" : `,"session_id":"${sessionId}"`;
  return `{"type":"event","event":"${type}"${session},"ts":${ts},"payload":${JSON.stringify(payload)}}`;
}
