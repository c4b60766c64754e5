import type { Journal } from "../core/journal.ts";
import type { Limits } from "../core/limits.ts";
import type { RowChange } from "../core/operation.ts";
import { DEAD, DEAD_BODY } from "../core/owed.ts";
import type { Clock, Logger } from "../core/ports.ts";
import type { Store } from "../core/store.ts";
import type { DeadDelivery } from "./stored-webhook.ts";

const KEPT_MS = 30 * 86_400_000;
/** Those that expire, or go with their session, are not told of: so seldom they are counted anew, and only while somebody asks. */
const COUNT_MS = 60_000;

export interface DeadLettersOptions {
  readonly store: Pick<Store, "record" | "records">;
  readonly journal: Pick<Journal, "append">;
  readonly clock: Clock;
  readonly log: Logger;
  readonly limits: Pick<Limits, "webhook_dead_letters">;
}

/** Deliveries that were given up: kept for a month, so many of each webhook. */
export class DeadLetters {
  readonly #options: DeadLettersOptions;
  #counted: number | null = null;
  #counted_at = Number.NEGATIVE_INFINITY;

  constructor(options: DeadLettersOptions) {
    this.#options = options;
  }

  /** How many are kept, of all webhooks, as it was when it was asked before; null: they were not counted yet. */
  count(): number | null {
    if (this.#options.clock.monotonic() - this.#counted_at >= COUNT_MS) void this.#recount();
    return this.#counted;
  }

  /** Never rejects: what was counted before stands where the store does not answer. */
  async #recount(): Promise<void> {
    const { store, clock } = this.#options;
    this.#counted_at = clock.monotonic();
    const all = await store.records(DEAD).catch(() => null);
    if (all !== null) this.#counted = all.length;
  }

  /** What would have been posted; null: it is gone. */
  async body(delivery_id: string): Promise<string | null> {
    const record = await this.#options.store.record(DEAD_BODY, delivery_id);
    return record === null ? null : record.data;
  }

  /** Oldest first. */
  async list(webhook_id: string): Promise<(DeadDelivery & { readonly delivery_id: string })[]> {
    const all = (await this.#options.store.records(DEAD)).map(({ id, data }) => {
      return { ...(JSON.parse(data) as DeadDelivery), delivery_id: id };
    });
    return all.filter((each) => each.webhook_id === webhook_id);
  }

  /** Resolves with whether it is on disk. */
  async add(delivery_id: string, dead: DeadDelivery, body: string): Promise<boolean> {
    const { clock, log, limits } = this.#options;
    const { webhook_id } = dead;
    const known = await this.list(webhook_id);
    const over = known.slice(0, Math.max(0, known.length + 1 - limits.webhook_dead_letters));
    if (over.length > 0)
      log.error({ webhook_id, lost: over.length }, "too many deliveries were given up: the oldest are lost");
    // Both go with the session they tell of.
    const about = { id: delivery_id, owner: dead.session_id, expires_at: clock.now() + KEPT_MS };
    return this.#append([
      ...over.flatMap((each) => dropsOf(each.delivery_id)),
      { kind: "record.put", record: { ...about, collection: DEAD, data: JSON.stringify(dead) } },
      { kind: "record.put", record: { ...about, collection: DEAD_BODY, data: body } },
    ]);
  }

  drop(delivery_ids: readonly string[]): Promise<boolean> {
    return this.#append(delivery_ids.flatMap(dropsOf));
  }

  /** Its webhook is gone. Never rejects: what cannot be read now goes when its time is over. */
  async clear(webhook_id: string): Promise<void> {
    const all = await this.list(webhook_id).catch((error: unknown) => {
      this.#options.log.warn(
        { webhook_id, err: error },
        "what was given up of a deleted webhook stays a while",
      );
      return [];
    });
    if (all.length > 0) await this.drop(all.map(({ delivery_id }) => delivery_id));
  }

  #append(rows: readonly RowChange[]): Promise<boolean> {
    return new Promise((resolve) => {
      const settle = ({ ok }: { readonly ok: boolean }): void => {
        if (ok) this.#counted_at = Number.NEGATIVE_INFINITY;
        resolve(ok);
      };
      this.#options.journal.append({ session: null, run: null, ack: true, events: [], rows, settle });
    });
  }
}

function dropsOf(id: string): RowChange[] {
  return [DEAD, DEAD_BODY].map((collection) => ({ kind: "record.drop", collection, id }));
}
