import type { Clock } from "../core/ports.ts";

/** Largest message of a tool server: a picture in base64 fits. */
export const MESSAGE_BYTES = 4 * 1024 * 1024;
/** What a server may say in a minute, asked or not; every bit of it is read by the thread that serves everybody. */
const WINDOW_MS = 60_000;
const MESSAGES_PER_WINDOW = 10_000;
const BYTES_PER_WINDOW = 256 * 1024 * 1024;

/** Counts what a tool server sends, and says when it is too much. */
export class Intake {
  readonly #clock: Clock;
  #since = Number.NEGATIVE_INFINITY;
  #messages = 0;
  #bytes = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** What is wrong with so many more, for a person; null: nothing. */
  take(messages: number, bytes: number): string | null {
    const now = this.#clock.monotonic();
    if (now - this.#since > WINDOW_MS) {
      this.#since = now;
      this.#messages = 0;
      this.#bytes = 0;
    }
    this.#messages += messages;
    this.#bytes += bytes;
    if (this.#messages > MESSAGES_PER_WINDOW)
      return `it sent more than ${MESSAGES_PER_WINDOW} messages a minute`;
    if (this.#bytes > BYTES_PER_WINDOW) return `it sent more than ${BYTES_PER_WINDOW} bytes a minute`;
    return null;
  }
}

/** What is said of a message that is too long. */
export const TOO_LONG = `it sent a message of more than ${MESSAGE_BYTES} bytes`;
