import type { Opening } from "../core/follow.ts";
import type { Frame } from "../core/hub.ts";
import { encodeSignal } from "../protocol/frames.ts";

/** A piece of an event stream: whole events, made once for everybody who reads them. */
export interface Chunk {
  readonly text: string;
  /** Bytes in UTF-8. */
  readonly size: number;
  /** The bytes, once somebody needed them. */
  bytes: Uint8Array | null;
}

export function chunkOf(text: string): Chunk {
  return { text, size: Buffer.byteLength(text), bytes: null };
}

/** First on every stream: how soon to come back, and something to read at once. */
export const GREETING = chunkOf("retry: 1000\n: agentbus\n\n");
/** So that nobody on the way takes a quiet stream for a dead one. */
export const COMMENT = chunkOf(":\n\n");

export interface Cursor {
  readonly epoch: string;
  readonly seq: number;
}

/** Reads `<epoch>.<seq>`; null where it is none. */
export function parseCursor(text: string): Cursor | null {
  const [, epoch, digits] = /^([a-z0-9]{8})\.(\d{1,16})$/.exec(text) ?? [];
  const seq = Number(digits);
  return epoch === undefined || !Number.isSafeInteger(seq) ? null : { epoch, seq };
}

/** A frame as an event: the bytes a socket gets, under the name of its type; an id only where there is a seq. */
export function eventText(frame: Frame): string {
  const id = frame.seq === null ? "" : `id: ${frame.epoch}.${frame.seq}\n`;
  return `${id}event: ${frame.type}\ndata: ${frame.text}\n\n`;
}

/** How the stream starts. Its id is where the events continue, on the event that holds everything up to there. */
export function openingText(opening: Opening, session_id: string, now: number): string {
  const { mode, epoch, from, head } = opening;
  const type = mode === "resume" ? "session.resumed" : `session.${mode}`;
  // Text put together, because the snapshot is JSON text already.
  const reason = opening.reason === undefined ? "" : `"reason":"${opening.reason}",`;
  const payload =
    mode === "resume"
      ? `{"from":${from},"head":${head}}`
      : `{${reason}"head":${from},"snapshot":${opening.snapshot ?? "null"}}`;
  const data = `{"type":"event","event":"${type}","session_id":"${session_id}","epoch":"${epoch}","ts":${now},"payload":${payload}}`;
  return `id: ${epoch}.${from}\nevent: ${type}\ndata: ${data}\n\n`;
}

/** Last on a stream that was to follow one run. */
export function endText(session_id: string, run_id: string, now: number): string {
  return `event: end\ndata: ${encodeSignal("end", now, { run_id }, session_id)}\n\n`;
}
