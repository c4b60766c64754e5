import type { Journal } from "../core/journal.ts";
import type { Limits } from "../core/limits.ts";
import type { RowChange } from "../core/operation.ts";
import { DEAD } from "../core/owed.ts";
import type { Clock, Logger } from "../core/ports.ts";
import type { Store } from "../core/store.ts";
import type { DeadDelivery } from "./stored-webhook.ts";

const KEPT_MS = 30 * 86_400_000;

export interface DeadLettersOptions {
  readonly store: Pick<Store, "records">;
  readonly journal: Pick<Journal, "append">;
  readonly clock: Clock;
  readonly log: Logger;
  readonly limits: Pick<Limits, "webhook_dead_letters">;
}

/** Deliveries that were given up: kept for a month, so many of each webhook. */
export class DeadLetters {
  readonly #options: DeadLettersOptions;

  constructor(options: DeadLettersOptions) {
    this.#options = options;
  }

  /** Oldest first. */
  async list(webhook_id: string): Promise<(DeadDelivery & { readonly delivery_id: string })[]> {
    const all = (await this.#options.store.records(DEAD)).map(({ id, data }) => {
      return { ...(JSON.parse(data) as DeadDelivery), delivery_id: id };
    });
    return all.filter((each) => each.webhook_id === webhook_id);
  }

  /** Resolves with whether it is on disk. */
  async add(delivery_id: string, dead: DeadDelivery): Promise<boolean> {
    const { clock, log, limits } = this.#options;
    const { webhook_id } = dead;
    const known = await this.list(webhook_id);
    const over = known.slice(0, Math.max(0, known.length + 1 - limits.webhook_dead_letters));
    if (over.length > 0)
      log.error({ webhook_id, lost: over.length }, "too many deliveries were given up: the oldest are lost");
    const record = {
      collection: DEAD,
      id: delivery_id,
      // It goes with the session it tells of.
      owner: dead.session_id,
      data: JSON.stringify(dead),
      expires_at: clock.now() + KEPT_MS,
    };
    const drops = over.map(({ delivery_id: id }): RowChange => ({
      kind: "record.drop",
      collection: DEAD,
      id,
    }));
    return this.#append([...drops, { kind: "record.put", record }]);
  }

  drop(delivery_ids: readonly string[]): Promise<boolean> {
    return this.#append(delivery_ids.map((id) => ({ kind: "record.drop", collection: DEAD, id })));
  }

  /** Its webhook is gone. */
  async clear(webhook_id: string): Promise<void> {
    const ids = (await this.list(webhook_id)).map(({ delivery_id }) => delivery_id);
    if (ids.length > 0) await this.drop(ids);
  }

  #append(rows: readonly RowChange[]): Promise<boolean> {
    return new Promise((resolve) => {
      const settle = ({ ok }: { readonly ok: boolean }): void => resolve(ok);
      this.#options.journal.append({ session: null, run: null, ack: true, events: [], rows, settle });
    });
  }
}
