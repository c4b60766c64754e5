import type { Attempts } from "../../src/automation/attempts.ts";
import type { DeliveriesOptions } from "../../src/automation/deliveries.ts";
import { Deliveries } from "../../src/automation/deliveries.ts";
import type { StoredWebhook } from "../../src/automation/stored-webhook.ts";
import { Owed } from "../../src/core/owed.ts";
import type { RecordRow } from "../../src/core/record.ts";
import type { Store } from "../../src/core/store.ts";
import { manualClock } from "../support/clock.ts";
import { silentLog } from "../support/engine.ts";

const EVENT = { type: "app.n", run_id: null, payload: "{}" };
const SESSION = { id: "ses_1", owner: "ann", name: null };
const WEBHOOK = {
  id: "whk_1",
  owner: "ann",
  url: "https://example.com/in",
  types: ["app.*"],
  sessions: "own",
  reads: true,
  enabled: true,
  since: 0,
};

export const turns = async (): Promise<void> => {
  for (let i = 0; i < 100; i++) await Promise.resolve();
};

/** Deliveries of one session's events to a webhook, with a store and a receiver that do what a test says. */
export class Scene {
  readonly clock = manualClock();
  owed = new Owed();
  deliveries: Deliveries;
  /** As it is stored. */
  webhook = WEBHOOK as unknown as StoredWebhook;
  /** Those of people who may not read the session. */
  strangers: StoredWebhook[] = [];
  /** Null: no such session. */
  head: number | null = null;
  isDown = false;
  reads = 0;
  readonly delivered: string[] = [];
  /** What the receiver answers with. */
  status = 204;
  readonly off: string[] = [];
  /** Whether the webhook was deleted. */
  isGone = false;
  /** What happens while it is asked. */
  onTry: () => unknown = () => undefined;
  dead = 0;
  readonly counted = { taken: 0, failed: 0, given_up: 0 };
  /** When each was appended. */
  readonly #times = new Map<number, number>();

  constructor() {
    this.deliveries = new Deliveries(this.#options());
  }

  async start(): Promise<this> {
    await this.deliveries.load();
    this.deliveries.start();
    return this;
  }

  /** The process ends, or another node goes on: what is in the store is all there is. */
  async restart(): Promise<void> {
    await this.deliveries.stop();
    this.owed = new Owed();
    this.deliveries = new Deliveries(this.#options());
    await this.start();
  }

  /** Appends, as the journal does. The answer commits. */
  write(seq: number): () => void {
    const event = { ...EVENT, ts: this.clock.now() };
    const mark = this.owed.mark(SESSION, [event]);
    this.#times.set(seq, event.ts);
    return () => {
      this.head = seq;
      this.owed.published(SESSION, { ...event, seq });
      mark?.settled(true);
    };
  }

  /** Something is to be delivered, and fails as often as it is tried within some hours. */
  async fail(seq: number): Promise<void> {
    this.write(seq)();
    for (let i = 0; i < 4; i++) {
      await turns();
      this.clock.advance(3_600_000);
    }
  }

  /** What stands in the store of it. */
  rowOf(cursors: Readonly<Record<string, number>>, since = this.clock.now()): RecordRow {
    const data = JSON.stringify({ since, cursors });
    return { collection: "webhook_owed", id: SESSION.id, owner: SESSION.id, data, expires_at: null };
  }

  /** Reads it anew, as where another node may have changed it. */
  async reread(row: RecordRow | null): Promise<void> {
    const store: Pick<Store, "record" | "records"> = { record: async () => row, records: async () => [] };
    await this.deliveries.mirror(store as Store).changed([SESSION.id]);
  }

  #options(): DeliveriesOptions {
    const options = {
      owed: this.owed,
      store: this.#store(),
      attempts: this.#attempts(),
      clock: this.clock,
      log: silentLog,
      limits: { webhook_attempts: 2 },
      book: this.#book(),
      journal: { append: ({ settle }: { settle(result: { ok: boolean }): void }) => settle({ ok: true }) },
      dead: { add: async () => (this.dead++, true) },
      stats: { deliveries: this.counted },
      audit: { record: () => undefined },
      directory: { mayRead: (_: unknown, user: string) => user === SESSION.owner },
      makers: { rights: () => new Set(["chat.read"]) },
    };
    return options as unknown as DeliveriesOptions;
  }

  #store() {
    const event = (seq: number) => ({ ...EVENT, ts: this.#times.get(seq) ?? this.clock.now(), seq });
    return {
      session: async () => {
        this.reads++;
        await Promise.resolve();
        if (this.isDown) throw new Error("no database");
        return this.head === null ? null : { ...SESSION, head: this.head, floor: 0 };
      },
      page: async (_session: string, after: number, upto: number) => ({
        epoch: "aaaaaaaa",
        events: Array.from({ length: upto - after }, (_, i) => event(after + i + 1)),
      }),
      records: async () => [],
    };
  }

  #attempts(): Pick<Attempts, "try"> {
    return {
      try: async (_webhook, { body }) => {
        this.delivered.push(`${JSON.parse(body).data.seq}`);
        const { status } = this;
        await this.onTry();
        return { ok: status < 300, status, reason: `answered ${status}`, retry_after_ms: null, ms: 0 };
      },
    };
  }

  #book() {
    return {
      every: () => [this.webhook, ...this.strangers],
      get: () => (this.isGone ? undefined : this.webhook),
      setFailing: (_: unknown, failing: StoredWebhook["failing"]) => ({
        rows: [],
        commit: () => (this.webhook = { ...this.webhook, failing: failing ?? null }),
        undo: () => undefined,
      }),
      turnOff: (webhook: StoredWebhook, why: string) => {
        this.off.push(why);
        const off = { ...webhook, enabled: false };
        return { rows: [], commit: () => (this.webhook = off), undo: () => undefined };
      },
    };
  }
}
