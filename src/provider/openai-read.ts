import type { Clock, ModelEvent } from "../core/ports.ts";
import type { Answer } from "./openai-answer.ts";
import { UpstreamReport } from "./openai-answer.ts";
import type { Blame } from "./openai-error.ts";
import { fail, late } from "./openai-error.ts";
import type { SseEvent } from "./sse.ts";
import { createSseReader } from "./sse.ts";
import type { Stop, Watchdog } from "./watchdog.ts";
import { STOPPED } from "./watchdog.ts";

export interface Reading {
  readonly clock: Clock;
  readonly dog: Watchdog;
  readonly answer: Answer;
  readonly blame: Blame;
  /** When the call began, monotonic milliseconds. */
  readonly started: number;
  readonly first_token_timeout_ms: number;
  readonly idle_timeout_ms: number;
  readonly max_line_bytes: number;
}

/** How long usage may come after the finish reason: an answer is held up no longer for it. */
const USAGE_WAIT_MS = 2_000;
/** The end of the body is right behind [DONE]; read, it lets the connection be used again. */
const END_WAIT_MS = 100;
type BodyReader = ReadableStreamDefaultReader<Uint8Array>;

const ENOUGH = (): Stop => ({ kind: "enough" });

/**
 * Text and reasoning of a response, into `answer`, up to the end of what it owes. Returns at the end of the body or
 * after [DONE]; throws for everything else, STOPPED where the watchdog did it.
 */
export async function* readBody(response: Response, reading: Reading): AsyncGenerator<ModelEvent> {
  const { answer, blame, dog } = reading;
  const type = response.headers.get("content-type") ?? "";
  if (/\bhtml\b/i.test(type)) {
    throw fail(blame, `${blame.name} answered with a web page: check llm.providers.${blame.name}.base_url`);
  }
  const reader = response.body?.getReader();
  if (reader === undefined) return;
  if (/\bjson\b/i.test(type)) return yield* readWhole(reader, reading);

  const sse = createSseReader(reading.max_line_bytes);
  let closing = false;
  let owed = firstToken(reading);
  for (;;) {
    dog.expect(owed.due, owed.overdue);
    const { value, done } = await dog.race(reader.read());
    dog.rest();
    let moved = false;
    for (const event of done ? sse.end() : sse.push(value)) {
      if (closing) return;
      closing = event.data === "[DONE]";
      const before = { reason: answer.finish_reason, bytes: answer.bytes };
      for (const said of closing ? [] : answer.take(parse(event, done))) {
        if (dog.stopped !== null) throw STOPPED;
        yield said;
      }
      moved ||= closing || before.reason !== answer.finish_reason || before.bytes < answer.bytes;
    }
    if (done || (closing && answer.finish_reason === null)) return;
    // Only what was owed moves the deadline: comments and empty chunks do not keep a call alive.
    if (moved) owed = next(reading, closing);
  }
}

interface Owed {
  /** Monotonic milliseconds. */
  readonly due: number;
  readonly overdue: () => Stop;
}

/** Until when the first text, reasoning or call is owed: from the call on, before there is a response. */
export function firstToken({ blame, started, first_token_timeout_ms: ms }: Reading): Owed {
  return {
    due: ms === 0 ? Infinity : started + ms,
    overdue: () => late(blame, "first_token_timeout_ms", ms),
  };
}

function next({ answer, blame, clock, idle_timeout_ms: ms }: Reading, closing: boolean): Owed {
  const now = clock.monotonic();
  if (closing) return { due: now + END_WAIT_MS, overdue: ENOUGH };
  if (answer.finish_reason !== null) return { due: now + USAGE_WAIT_MS, overdue: ENOUGH };
  return { due: ms === 0 ? Infinity : now + ms, overdue: () => late(blame, "idle_timeout_ms", ms) };
}

/** @param cut whether the body ended in the middle of this event. */
function parse({ event, data }: SseEvent, cut: boolean): unknown {
  try {
    const chunk: unknown = JSON.parse(data);
    if (event === "error") throw new UpstreamReport(chunk);
    return chunk;
  } catch (cause) {
    if (cut && cause instanceof SyntaxError) return {};
    throw cause;
  }
}

/** The answer of a server that ignores `stream`. */
async function* readWhole(reader: BodyReader, reading: Reading): AsyncGenerator<ModelEvent> {
  const { answer, blame, dog, max_line_bytes } = reading;
  const decoder = new TextDecoder();
  const { due, overdue } = firstToken(reading);
  let text = "";
  let bytes = 0;
  dog.expect(due, overdue);
  for (;;) {
    const { value, done } = await dog.race(reader.read());
    if (done) break;
    bytes += value.length;
    if (bytes > max_line_bytes) throw new RangeError(`an answer is longer than ${max_line_bytes} bytes`);
    text += decoder.decode(value, { stream: true });
  }
  dog.rest();
  yield* answer.take(JSON.parse(text + decoder.decode()));
  if (answer.finish_reason === null) {
    throw fail(blame, `${blame.name} answered without a message: check llm.providers.${blame.name}.base_url`);
  }
}
