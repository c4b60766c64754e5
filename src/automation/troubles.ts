import type { Journal } from "../core/journal.ts";
import type { Clock, Logger } from "../core/ports.ts";
import type { Attempt } from "./attempts.ts";
import type { Failing } from "./stored-webhook.ts";
import type { WebhookBook } from "./webhooks.ts";

/** A receiver that has taken nothing for so long, while somebody tried, gets each delivery once more, and then it is given up. */
const PATIENCE_MS = 6 * 3_600_000;
/** Then it is turned off. */
const GIVE_UP_MS = 3 * 86_400_000;
/** Where nothing was sent for so long, nobody knows that it failed all the time: it is counted anew. */
const SILENT_MS = 86_400_000;
/** That it still fails is written so seldom. */
const WRITE_MS = 3_600_000;

/** A receiver as it is known since this node delivers. */
interface Trouble {
  /** Where it is: another one has another history. */
  readonly url: string;
  /** Its first failure; null: it takes what it is sent. */
  readonly since: number | null;
  /** The last attempt. */
  readonly last: number;
  /** Monotonic. */
  readonly until: number;
}

export interface TroublesOptions {
  readonly book: Pick<WebhookBook, "get" | "setFailing">;
  readonly journal: Pick<Journal, "append">;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * Receivers that do not take what they are sent, by the ids of their webhooks. Since when stands in the store with each: the
 * next process, or another node, goes on with it.
 */
export class Troubles {
  readonly #options: TroublesOptions;
  readonly #all = new Map<string, Trouble>();
  /** Since when this node delivers, monotonic ms: before, perhaps nobody tried. */
  #begun: number;

  constructor(options: TroublesOptions) {
    this.#options = options;
    this.#begun = options.clock.monotonic();
  }

  since(webhook_id: string): number | null {
    return this.#known(webhook_id)?.since ?? null;
  }

  /** Until when it is left alone, monotonic ms. */
  until(webhook_id: string): number {
    return this.#all.get(webhook_id)?.until ?? 0;
  }

  /** This node delivers from now on: another one may have done so meanwhile. */
  begin(): void {
    this.#all.clear();
    this.#begun = this.#options.clock.monotonic();
  }

  /** Those that are not there any more, are off, or are elsewhere have no history here. Answers which they are. */
  forgetOthers(): string[] {
    const { book } = this.#options;
    const isOther = (id: string, { url }: Trouble): boolean => {
      const webhook = book.get(id);
      return webhook?.enabled !== true || webhook.url !== url;
    };
    const others = [...this.#all].flatMap(([id, trouble]) => (isOther(id, trouble) ? [id] : []));
    for (const id of others) this.#all.delete(id);
    return others;
  }

  /** It took something. */
  took(webhook_id: string): void {
    const webhook = this.#options.book.get(webhook_id);
    if (webhook === undefined) return;
    if (this.#known(webhook_id) !== null)
      this.#all.set(webhook_id, { url: webhook.url, since: null, last: this.#options.clock.now(), until: 0 });
    // Also where the store did not take it before.
    this.#write(webhook_id);
  }

  /**
   * It did not. Who refuses one delivery may take others; who does not answer, or has too much to do, is left alone for a while.
   * What it comes to: the delivery is tried again, it is the last try of it, or the webhook is to be turned off.
   */
  failed(webhook_id: string, { status, reason }: Attempt, wait_ms: number): "again" | "last" | "off" {
    const { clock, log, book } = this.#options;
    const now = clock.now();
    const before = this.#known(webhook_id);
    const isOn = before !== null && now - before.last <= SILENT_MS;
    if (!isOn) log.warn({ webhook_id, reason }, "a webhook's receiver does not take what it is sent");
    // What a clock said that was ahead is not waited for.
    const since = isOn ? Math.min(before.since, now) : now;
    const isAll = status === undefined || status === 429 || status >= 500;
    const until = isAll ? clock.monotonic() + wait_ms : this.until(webhook_id);
    this.#all.set(webhook_id, { url: book.get(webhook_id)?.url ?? "", since, last: now, until });
    if (status === 410 || now - since > GIVE_UP_MS) return "off";
    this.#write(webhook_id);
    return Math.min(now - since, clock.monotonic() - this.#begun) > PATIENCE_MS ? "last" : "again";
  }

  /** Null: it takes what it is sent, as far as anybody knows. */
  #known(webhook_id: string): Failing | null {
    const known = this.#all.get(webhook_id);
    if (known === undefined) return this.#options.book.get(webhook_id)?.failing ?? null;
    const { since, last } = known;
    return since === null ? null : { since, last };
  }

  #write(webhook_id: string): void {
    const { book, journal } = this.#options;
    const failing = this.#unwritten(webhook_id);
    if (failing === undefined) return;
    const change = book.setFailing(webhook_id, failing);
    // Somebody else changes it: the next attempt writes it.
    if (change === null) return;
    const settle = ({ ok }: { readonly ok: boolean }): void => {
      if (!ok) return change.undo();
      change.commit();
      // It may have taken something meanwhile.
      return this.#write(webhook_id);
    };
    journal.append({ session: null, run: null, ack: false, events: [], rows: change.rows, settle });
  }

  /** What is to be written of it; undefined: nothing. */
  #unwritten(webhook_id: string): Failing | null | undefined {
    const known = this.#all.get(webhook_id);
    const webhook = this.#options.book.get(webhook_id);
    if (known === undefined || webhook === undefined) return undefined;
    const { since, last } = known;
    const { failing = null } = webhook;
    if (since === null) return failing === null ? undefined : null;
    // One failure alone is none to remember.
    const isNews = failing === null ? last > since : last - failing.last >= WRITE_MS;
    return isNews || (failing !== null && failing.since !== since) ? { since, last } : undefined;
  }
}
