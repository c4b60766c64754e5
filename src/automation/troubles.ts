import type { Clock, Logger } from "../core/ports.ts";
import type { Attempt } from "./attempts.ts";

/** A receiver that has taken nothing for so long gets each delivery once more, and then it is given up. */
const PATIENCE_MS = 6 * 3_600_000;
/** Then it is turned off. */
const GIVE_UP_MS = 3 * 86_400_000;
/** Where nothing was sent for so long, nobody knows that it failed all the time: it is counted anew. */
const SILENT_MS = 86_400_000;

/** A receiver that does not take what it is sent. */
interface Trouble {
  /** Its first failure, and the last one. */
  readonly since: number;
  readonly last: number;
  readonly times: number;
  readonly until: number;
}

/** Receivers that do not take what they are sent, by the ids of their webhooks. */
export class Troubles {
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #all = new Map<string, Trouble>();

  constructor({ clock, log }: { readonly clock: Clock; readonly log: Logger }) {
    this.#clock = clock;
    this.#log = log;
  }

  since(webhook_id: string): number | null {
    return this.#all.get(webhook_id)?.since ?? null;
  }

  /** Until when it is left alone. */
  until(webhook_id: string): number {
    return this.#all.get(webhook_id)?.until ?? 0;
  }

  /** Forgets those that are not there any more. */
  keep(isThere: (webhook_id: string) => boolean): void {
    for (const id of this.#all.keys()) if (!isThere(id)) this.#all.delete(id);
  }

  /** It took something. */
  took(webhook_id: string): void {
    this.#all.delete(webhook_id);
  }

  /**
   * It did not. Who refuses one delivery may take others; who does not answer, or has too much to do, is left alone for a while.
   * What it comes to: the delivery is tried again, it is the last try of it, or the webhook is to be turned off.
   */
  failed(webhook_id: string, { status, reason }: Attempt, wait_ms: number): "again" | "last" | "off" {
    const now = this.#clock.now();
    const before = this.#all.get(webhook_id);
    const isOn = before !== undefined && now - before.last <= SILENT_MS;
    const known = isOn ? before : { since: now, times: 0, until: before?.until ?? 0 };
    const isAll = status === undefined || status === 429 || status >= 500;
    const until = isAll ? now + wait_ms : known.until;
    if (known.times === 0)
      this.#log.warn({ webhook_id, reason }, "a webhook's receiver does not take what it is sent");
    this.#all.set(webhook_id, { since: known.since, last: now, times: known.times + 1, until });
    const lasts = now - known.since;
    if (status === 410 || lasts > GIVE_UP_MS) return "off";
    return lasts > PATIENCE_MS ? "last" : "again";
  }
}
