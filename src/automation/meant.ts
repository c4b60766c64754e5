import type { Debt, Owed } from "../core/owed.ts";
import { isOf } from "../core/owed.ts";
import type { Directory } from "../core/session.ts";
import type { StoredEvent } from "../protocol/frames.ts";
import type { StoredWebhook } from "./stored-webhook.ts";
import type { WebhookBook } from "./webhooks.ts";
import { UNDELIVERED } from "./webhooks.ts";

export interface MeantOptions {
  readonly owed: Pick<Owed, "all" | "get">;
  readonly book: Pick<WebhookBook, "every" | "get">;
  readonly directory: Pick<Directory, "mayRead">;
}

/**
 * Which events of a log are for a webhook. What comes after something in the log is later, whatever the clocks of nodes say, and
 * however they are set: times are compared only where the place in the log is not known.
 */
export class Meant {
  readonly #options: MeantOptions;
  /** Since when each that is on is owed anything. */
  readonly #since = new Map<string, number>();

  constructor(options: MeantOptions) {
    this.#options = options;
  }

  /** Webhooks came, went or changed. */
  changed(): void {
    const { owed, book } = this.#options;
    for (const id of this.#since.keys()) if (book.get(id)?.enabled !== true) this.#since.delete(id);
    for (const { id, enabled, since } of book.every()) {
      if (!enabled || this.#since.get(id) === since) continue;
      this.#since.set(id, since);
      for (const session_id of owed.all()) owed.get(session_id)?.late.add(id);
    }
  }

  /** Nothing of it is for somebody who may not read the session: it is known without a look at the store, for each of many. */
  passes({ id, sessions, owner }: StoredWebhook, { session, head, cursors }: Debt): boolean {
    if (session === null || head === Infinity || sessions === "all") return false;
    if (this.#options.directory.mayRead(session, owner)) return false;
    cursors.set(id, head);
    return true;
  }

  isMeant({ id, since, types }: StoredWebhook, debt: Debt, { type, ts, seq }: StoredEvent): boolean {
    if (ts >= debt.since) debt.begun.add(id);
    const isOwed = debt.from === null ? debt.begun.has(id) : seq > debt.from;
    const isNews = !debt.late.has(id) || ts >= since;
    return isOwed && isNews && !UNDELIVERED.has(type) && types.some((wanted) => isOf(type, wanted));
  }
}
