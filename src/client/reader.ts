import type { EventFrame } from "../protocol/frames.ts";
import type { ClientError } from "./error.ts";
import { AbortedError } from "./error.ts";
import type { LogEvent, SessionEvent } from "./events.ts";
import { openingEvent } from "./events.ts";
import type { Feed, Reader } from "./feed.ts";
import type { Opening } from "./methods.ts";
import type { Cursor } from "./subscription.ts";
import { RUN_END } from "./subscription.ts";

export interface EventsOptions {
  /** Begins after it: a cursor that was kept, or what send() answered. Without it the first event is a snapshot. */
  readonly after?: Cursor;
  /** "log": every event, however many were missed, as long as the gateway still has them. Default "auto". */
  readonly catch_up?: "auto" | "log";
  /** Ends after the last event of this run. */
  readonly until?: string;
  readonly signal?: AbortSignal;
}

/** Events that wait to be taken; whoever is slower is read again from where they are. */
const QUEUE_MAX = 1_000;

/** The events of a session as they are asked for; leaves when the loop does. */
export async function* readEvents(
  feed: Feed,
  session_id: string,
  options: EventsOptions,
): AsyncGenerator<SessionEvent, void, undefined> {
  const { signal } = options;
  const queue = new EventQueue(feed, session_id, options);
  const leave = feed.join(queue);
  const stop = (): void => queue.ended(new AbortedError());
  signal?.addEventListener("abort", stop);
  if (signal?.aborted === true) stop();
  try {
    for (;;) {
      const event = await queue.next();
      yield event;
      if (options.until !== undefined && isEnd(event, options.until)) return;
    }
  } finally {
    signal?.removeEventListener("abort", stop);
    leave();
  }
}

class EventQueue implements Reader {
  cursor: Cursor | null;
  readonly catch_up: "auto" | "log";
  readonly #feed: Feed;
  readonly #session_id: string;
  readonly #events: SessionEvent[] = [];
  #error: ClientError | null = null;
  /** Events were left out after the cursor. */
  #lagging = false;
  #wake: () => void = () => undefined;

  constructor(feed: Feed, session_id: string, { after, catch_up = "auto" }: EventsOptions) {
    this.#feed = feed;
    this.#session_id = session_id;
    this.cursor = after === undefined ? null : { epoch: after.epoch, seq: after.seq };
    this.catch_up = catch_up;
    const known = after === undefined ? feed.state.toOpening() : null;
    if (known !== null) this.opened(known);
  }

  opened(opening: Opening): void {
    const { epoch, from, mode } = opening;
    // It goes on where it was.
    if (this.cursor?.epoch === epoch && (mode === "resume" || from <= this.cursor.seq)) return;
    // What is a beginning to others may be another log to this one.
    const reset = this.cursor !== null && this.cursor.epoch !== epoch && mode === "snapshot";
    this.cursor = { epoch, seq: from };
    this.#lagging = false;
    const own: Opening = reset ? { ...opening, mode: "reset", reason: "epoch" } : opening;
    this.#push(openingEvent(this.#session_id, own));
  }

  event(frame: EventFrame): void {
    const { epoch, seq } = frame;
    if (epoch === undefined || seq === undefined || this.cursor?.epoch !== epoch) return;
    if (this.#lagging || seq <= this.cursor.seq) return;
    if (this.#events.length >= QUEUE_MAX) this.#lagging = true;
    else {
      this.cursor = { epoch, seq };
      this.#push(frame as LogEvent);
    }
  }

  ended(error: ClientError): void {
    this.#error ??= error;
    this.#wake();
  }

  /** @throws ClientError once it has ended and everything was taken */
  async next(): Promise<SessionEvent> {
    for (;;) {
      if (this.#error?.code === "ABORTED") throw this.#error;
      const event = this.#events.shift();
      if (event !== undefined) return event;
      if (this.#error !== null) throw this.#error;
      if (this.#lagging) {
        this.#lagging = false;
        this.#feed.rewind(this);
      }
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  #push(event: SessionEvent): void {
    this.#events.push(event);
    this.#wake();
  }
}

function isEnd(event: SessionEvent, run_id: string): boolean {
  if (event.event === "session.snapshot" || event.event === "session.reset") {
    // A snapshot names every run that goes on.
    const run = event.payload.snapshot.runs.find((each) => each.run_id === run_id);
    return run === undefined || (run.status !== "queued" && run.status !== "running");
  }
  return event.run_id === run_id && RUN_END.test(event.event);
}
