import type { SQL } from "bun";
import type { Logger } from "../../core/ports.ts";
import type { Dial } from "./dial.ts";
import { dial } from "./dial.ts";
import { describeFailure } from "./failures.ts";
import type { Pool } from "./pool.ts";

/** Sessions whose log grew on other nodes; null: some may have grown that nobody told of. */
export type Grown = (sessions: readonly string[] | null) => void;

export interface WakeOptions {
  readonly dial: Dial;
  /** What is sent goes through it. */
  readonly pool: Pool;
  readonly boot: string;
  readonly log: Logger;
  /** No other node lives: nobody need be told of anything. */
  readonly isAlone: () => boolean;
  /** Told of each connection that listens: others may listen on it, too. */
  readonly onLine: (line: SQL) => void;
}

const CHANNEL = "agentbus_log";
/** What a notification begins with that is not about sessions that grew. */
const ASKED = "!";
const ANSWERED = "=";
/** A notification has 8,000 bytes at the most. */
const AT_ONCE = 200;

/**
 * Tells other nodes which sessions grew, and hears it from them. Nothing depends on it that must not be lost: who hears
 * nothing reads a moment later.
 */
export class Wake {
  readonly #options: WakeOptions;
  readonly #listeners = new Set<Grown>();
  readonly #onCall = new Set<(what: "asked" | "answered") => void>();
  /** Sessions that grew while the last notification was on its way. */
  #waiting = new Set<string>();
  #sending = false;
  #line: SQL | null = null;
  #closed = false;

  constructor(options: WakeOptions) {
    this.#options = options;
  }

  onGrown(listener: Grown): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** Told when a node asked this one for something, or answered it; both, when that may have gone unheard. */
  onCall(listener: (what: "asked" | "answered") => void): () => void {
    this.#onCall.add(listener);
    return () => void this.#onCall.delete(listener);
  }

  /** After calls were put or answered: whom they concern. */
  call(what: "asked" | "answered", boots: readonly string[]): void {
    const others = new Set(boots);
    if (others.delete(this.#options.boot)) this.#called(what);
    if (others.size > 0) void this.#notify(`${what === "asked" ? ASKED : ANSWERED} ${[...others].join(" ")}`);
  }

  /** After a commit. */
  tell(sessions: Iterable<string>): void {
    if (this.#options.isAlone()) return;
    for (const id of sessions) this.#waiting.add(id);
    void this.#send();
  }

  /** Now and then: listens, where it could not so far. */
  check(): void {
    if (this.#line === null) this.listen();
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#line?.close({ timeout: 0 });
    this.#line = null;
  }

  /** Listens anew, on another connection. */
  listen(): void {
    if (this.#closed) return;
    this.#line?.close({ timeout: 0 }).catch(() => undefined);
    const line = dial(this.#options.dial, 1);
    this.#line = line;
    this.#options.onLine(line);
    line
      .listen(
        CHANNEL,
        (payload) => this.#heard(payload),
        // What was said before, or while it was away, is not heard any more.
        () => {
          this.#grown(null);
          this.#called("asked");
          this.#called("answered");
        },
      )
      .catch((error: unknown) => {
        if (this.#line !== line) return;
        this.#line = null;
        line.close({ timeout: 0 }).catch(() => undefined);
        if (!this.#closed)
          this.#options.log.warn(
            { error: describeFailure(error) },
            "cannot listen to other nodes: it is tried again",
          );
      });
  }

  #heard(payload: string): void {
    const [from, ...ids] = payload.split(" ");
    if (from === ASKED || from === ANSWERED) {
      if (ids.includes(this.#options.boot)) this.#called(from === ASKED ? "asked" : "answered");
    } else if (from !== this.#options.boot) this.#grown(ids);
  }

  #grown(sessions: readonly string[] | null): void {
    for (const listener of this.#listeners) listener(sessions);
  }

  #called(what: "asked" | "answered"): void {
    for (const listener of this.#onCall) listener(what);
  }

  /** One on its way at a time: what comes meanwhile goes together. */
  async #send(): Promise<void> {
    if (this.#sending) return;
    this.#sending = true;
    while (this.#waiting.size > 0 && !this.#closed) {
      const some = [...this.#waiting].slice(0, AT_ONCE);
      for (const id of some) this.#waiting.delete(id);
      await this.#notify(`${this.#options.boot} ${some.join(" ")}`);
    }
    this.#sending = false;
  }

  async #notify(payload: string): Promise<void> {
    try {
      await this.#options.pool.read((q) => q.all("SELECT pg_notify($1::text, $2::text)", [CHANNEL, payload]));
    } catch (error) {
      if (!this.#closed)
        this.#options.log.debug(
          { error: describeFailure(error) },
          "other nodes were not woken: they look by themselves",
        );
    }
  }
}
