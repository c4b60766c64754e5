/** Where something belongs in a trace, as W3C's trace context names it. */
export interface TraceContext {
  /** 32 lowercase hex digits, not all 0. */
  readonly trace_id: string;
  /** 16 lowercase hex digits, not all 0: what is caused hangs below it. */
  readonly span_id: string;
  /** Whether whoever began the trace wants to see it. */
  readonly sampled: boolean;
}

const TRACEPARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;
const NO_TRACE = "0".repeat(32);
const NO_SPAN = "0".repeat(16);
/** Versions to come may say more behind what this one says. */
const LONGEST = 128;

/** Reads a `traceparent`; null: there is none, or none that may be heeded. */
export function readTraceparent(text: unknown): TraceContext | null {
  if (typeof text !== "string" || text.length > LONGEST) return null;
  const [, version = "", trace_id = "", span_id = "", flags = "", more] = TRACEPARENT.exec(text) ?? [];
  if (trace_id === "" || version === "ff" || (version === "00" && more !== undefined)) return null;
  if (trace_id === NO_TRACE || span_id === NO_SPAN) return null;
  return { trace_id, span_id, sampled: (Number.parseInt(flags, 16) & 1) === 1 };
}

export function traceparentOf({ trace_id, span_id, sampled }: TraceContext): string {
  return `00-${trace_id}-${span_id}-${sampled ? "01" : "00"}`;
}

export function newTraceId(): string {
  return randomHex(16);
}
export function newSpanId(): string {
  return randomHex(8);
}

/** What each byte is in hex. */
const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

function randomHex(bytes: number): string {
  let text = "";
  for (const byte of crypto.getRandomValues(new Uint8Array(bytes))) text += HEX[byte];
  // All zeros is no id; it comes once in 2^64 times.
  return /[1-9a-f]/.test(text) ? text : randomHex(bytes);
}
