import type { Clock, Logger } from "../../core/ports.ts";
import { describeFailure } from "./failures.ts";
import type { Pool } from "./pool.ts";
import type { Queries } from "./queries.ts";

export interface PostOptions {
  readonly pool: Pool;
  readonly boot: string;
  readonly clock: Clock;
  readonly log: Logger;
  readonly channel: string;
}

/** What one node says to another, by its boot; null: to all of them. */
export interface Word {
  readonly to: string | null;
  /** JSON; "": nothing but that this node is there. */
  readonly text: string;
  /** It is on its way, or was given up. */
  readonly sent?: () => void;
}

/** A notification has 8,000 bytes at the most. */
const NOTE_BYTES = 7_000;
/** What is longer is not sent. */
const WORD_BYTES = 8 * 1024 * 1024;
/** What waits to be sent: past that it is lost. */
const WAITING_BYTES = 16 * 1024 * 1024;
/** What comes within this time after a notification goes together: so many are the most, however much is said. */
const GATHER_MS = 25;
const PARCEL_KEPT = "1 minute";

/**
 * Sends words to other nodes, in order, as few notifications: `BOOT NUMBER TO` and a JSON array of words, or `#` and the
 * number of the row where it stands. A number that is not above the last one of its boot was sent before.
 */
export class Post {
  readonly #options: PostOptions;
  #waiting: Word[] = [];
  #bytes = 0;
  #sent = 0;
  #isSending = false;
  #isFull = false;
  #flushing: Promise<void> = Promise.resolve();
  #closed = false;

  constructor(options: PostOptions) {
    this.#options = options;
  }

  put(word: Word): void {
    const bytes = Buffer.byteLength(word.text);
    if (this.#closed || bytes > WORD_BYTES || this.#bytes + bytes > WAITING_BYTES) {
      word.sent?.();
      if (!this.#closed && !this.#isFull)
        this.#options.log.warn({ bytes }, "too much to tell to other nodes");
      this.#isFull = true;
      return;
    }
    this.#isFull = false;
    this.#bytes += bytes;
    this.#waiting.push(word);
    if (!this.#isSending) void this.#send();
  }

  /** Text that was too long for a notification; null: it is not there any more. */
  async fetch(id: number): Promise<string | null> {
    const { pool } = this.#options;
    const row = await pool.read((q) =>
      q.one<{ body: string }>("SELECT body FROM parcels WHERE id = $1::bigint", [id]),
    );
    return row?.body ?? null;
  }

  /** Nothing more is sent than what waits by now. Never rejects. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#flushing;
    await this.#flush();
  }

  async #send(): Promise<void> {
    const { clock } = this.#options;
    this.#isSending = true;
    while (this.#waiting.length > 0 && !this.#closed) {
      await (this.#flushing = this.#flush());
      await new Promise<void>((resolve) => clock.after(GATHER_MS, resolve));
    }
    this.#isSending = false;
  }

  async #flush(): Promise<void> {
    const words = this.#waiting;
    this.#waiting = [];
    this.#bytes = 0;
    for (const { sent } of words) sent?.();
    for (const [to, some] of Map.groupBy(words, (word) => word.to))
      await this.#notify(to ?? "*", `[${some.flatMap(({ text }) => (text === "" ? [] : text)).join(",")}]`);
  }

  async #notify(to: string, text: string): Promise<void> {
    const { pool, boot, channel, log } = this.#options;
    const head = `${boot} ${++this.#sent} ${to} `;
    try {
      await pool.read((q) =>
        Buffer.byteLength(text) <= NOTE_BYTES
          ? q.all("SELECT pg_notify($1::text, $2::text)", [channel, `${head}${text}`])
          : q.all(
              `WITH put AS (INSERT INTO parcels (body) VALUES ($3::text) RETURNING id)
               SELECT pg_notify($1::text, $2::text || '#' || id::text) FROM put`,
              [channel, head, text],
            ),
      );
    } catch (error) {
      if (!this.#closed) log.debug({ error: describeFailure(error) }, "other nodes were not told");
    }
  }
}

/** Erases what every node has read by now; how much. */
export function expireParcels(q: Queries, max_rows: number): Promise<number> {
  return q.run(
    `DELETE FROM parcels WHERE id IN (SELECT id FROM parcels
       WHERE made_at < clock_timestamp() - interval '${PARCEL_KEPT}' LIMIT $1::bigint FOR UPDATE SKIP LOCKED)`,
    [max_rows],
  );
}
