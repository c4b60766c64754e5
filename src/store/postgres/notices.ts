import type { SQL } from "bun";
import type { Clock, Logger } from "../../core/ports.ts";
import type { RecordKey } from "../../core/cluster.ts";
import { RECORDS_CHANNEL } from "./changed-records.ts";
import { describeFailure } from "./failures.ts";
import type { Pool } from "./pool.ts";

type OnRecords = (changed: readonly RecordKey[] | null, isOwn: boolean) => void;

export interface NoticesOptions {
  /** What is said goes through it. */
  readonly pool: Pool;
  readonly boot: string;
  readonly clock: Clock;
  readonly log: Logger;
  /** Has `attach` called with another connection. */
  readonly listenAnew: () => void;
}

/** So often it is looked whether what is said is heard. */
const PROBE_MS = 1_000;
/** So long a connection may take until it listens. */
const LISTENS_MS = 5_000;
/** So long somebody waits who has to know of everything that was committed. */
const HEARD_MS = 1_000;

interface Message {
  readonly boot: string;
  /** Null: more than can be named. */
  readonly records?: readonly (readonly [string, string])[] | null;
  readonly topic?: string;
  readonly text?: string;
  /** Said to oneself: everything that was said before it has been heard by then. */
  readonly probe?: number;
}

/**
 * Hears which records other nodes put and dropped, in the order of their commits, and what they say besides. PostgreSQL
 * delivers to each connection in that order, so that whoever hears what he said himself has heard what came before.
 */
export class Notices {
  readonly #options: NoticesOptions;
  readonly #onRecords = new Set<OnRecords>();
  readonly #onTold = new Map<string, Set<(text: string) => void>>();
  #line: SQL | null = null;
  /** What was said before it listens nobody hears on it. */
  #listens = false;
  /** By the monotonic clock. */
  #attached_at = 0;
  #said = 0;
  #heard = 0;
  /** The probe of the last look, which has to be heard by the next. */
  #probe = 0;
  #waiting: { readonly probe: number; readonly resolve: (heard: boolean) => void }[] = [];
  /** The question that goes with the next probe, where one is on its way. */
  #next: Promise<boolean> | null = null;
  #asking: Promise<boolean> | null = null;
  readonly #cancel: () => void;
  #closed = false;

  constructor(options: NoticesOptions) {
    this.#options = options;
    this.#cancel = options.clock.every(PROBE_MS, () => this.#look());
  }

  onRecords(listener: OnRecords): () => void {
    this.#onRecords.add(listener);
    return () => void this.#onRecords.delete(listener);
  }

  onTold(topic: string, listener: (text: string) => void): () => void {
    const listeners = this.#onTold.get(topic) ?? new Set();
    this.#onTold.set(topic, listeners.add(listener));
    return () => void listeners.delete(listener);
  }

  tell(topic: string, text: string): void {
    void this.#say({ boot: this.#options.boot, topic, text });
  }

  /** One question is on its way at a time: who comes meanwhile shares the next one, for what was said before counts. */
  heardAll(): Promise<boolean> {
    if (this.#asking === null) {
      this.#asking = this.#ask().finally(() => (this.#asking = null));
      return this.#asking;
    }
    this.#next ??= this.#asking.then(() => {
      this.#next = null;
      return this.heardAll();
    });
    return this.#next;
  }

  /** A connection that listens to nothing of this yet. */
  attach(line: SQL): void {
    this.#line = line;
    this.#listens = false;
    this.#attached_at = this.#options.clock.monotonic();
    this.#probe = 0;
    line
      .listen(
        RECORDS_CHANNEL,
        (payload) => this.#hear(payload),
        () => {
          if (this.#line === line) this.#listens = true;
          // What was said before, or while it was away, is not heard any more.
          this.#records(null, false);
        },
      )
      // Who has the connection tells, and makes another.
      .catch(() => undefined);
  }

  close(): void {
    this.#closed = true;
    this.#cancel();
    for (const { resolve } of this.#waiting) resolve(false);
    this.#waiting = [];
  }

  #look(): void {
    const line = this.#line;
    if (line === null || this.#closed) return undefined;
    const { clock, listenAnew } = this.#options;
    const isLate = !this.#listens && clock.monotonic() - this.#attached_at > LISTENS_MS;
    if (isLate || this.#probe > this.#heard) return listenAnew();
    if (!this.#listens) return undefined;
    void this.#sayProbe().then((probe) => {
      if (probe !== null && this.#line === line) this.#probe = Math.max(this.#probe, probe);
    });
    return undefined;
  }

  async #ask(): Promise<boolean> {
    const { clock } = this.#options;
    const probe = await this.#sayProbe();
    if (probe === null || this.#closed) return false;
    if (probe <= this.#heard) return true;
    return new Promise((resolve) => {
      const waits = {
        probe,
        resolve: (heard: boolean): void => {
          cancel();
          resolve(heard);
        },
      };
      const cancel = clock.after(HEARD_MS, () => {
        this.#waiting = this.#waiting.filter((each) => each !== waits);
        resolve(false);
      });
      this.#waiting.push(waits);
    });
  }

  async #sayProbe(): Promise<number | null> {
    const probe = ++this.#said;
    return (await this.#say({ boot: this.#options.boot, probe })) ? probe : null;
  }

  #hear(payload: string): void {
    const { boot, records, topic, text = "", probe } = JSON.parse(payload) as Message;
    const isOwn = boot === this.#options.boot;
    if (probe !== undefined) {
      if (isOwn) this.#caughtUp(probe);
    } else if (topic !== undefined) {
      if (!isOwn) for (const listener of this.#onTold.get(topic) ?? []) listener(text);
    } else {
      this.#records(records?.map(([collection, id]) => ({ collection, id })) ?? null, isOwn);
    }
  }

  #records(changed: readonly RecordKey[] | null, isOwn: boolean): void {
    for (const listener of this.#onRecords) listener(changed, isOwn);
  }

  #caughtUp(probe: number): void {
    this.#heard = Math.max(this.#heard, probe);
    const [over, rest] = [
      this.#waiting.filter((each) => each.probe <= probe),
      this.#waiting.filter((each) => each.probe > probe),
    ];
    this.#waiting = rest;
    for (const { resolve } of over) resolve(true);
  }

  async #say(message: Message): Promise<boolean> {
    if (this.#closed) return false;
    const { pool, log } = this.#options;
    try {
      await pool.read((q) =>
        q.all("SELECT pg_notify($1::text, $2::text)", [RECORDS_CHANNEL, JSON.stringify(message)]),
      );
      return true;
    } catch (error) {
      if (!this.#closed) log.debug({ error: describeFailure(error) }, "other nodes were not told");
      return false;
    }
  }
}
