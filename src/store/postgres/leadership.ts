import type { Clock, Logger } from "../../core/ports.ts";
import { describeFailure } from "./failures.ts";
import type { Lease } from "./lease.ts";
import type { Pool } from "./pool.ts";

export interface LeadershipOptions {
  readonly pool: Pool;
  readonly boot: string;
  readonly lease: Pick<Lease, "until">;
  readonly clock: Clock;
  readonly log: Logger;
}

/** The row of `meta` that names the boot. Nobody takes it from one whose lease lasts. */
const TAKE = `INSERT INTO meta AS m (name, value)
  SELECT 'leader', $1::text WHERE EXISTS
    (SELECT 1 FROM nodes WHERE boot = $1::text AND lease_until > clock_timestamp())
  ON CONFLICT (name) DO UPDATE SET value = excluded.value
  WHERE m.value = excluded.value OR NOT EXISTS
    (SELECT 1 FROM nodes AS n WHERE n.boot = m.value AND n.lease_until > clock_timestamp())
  RETURNING value`;
const NEVER = { monotonic: -Infinity, wall: -Infinity };

/** Which node does what is done once for all of them. It ends with the lease that it was taken on, as we count that. */
export class Leadership {
  readonly #options: LeadershipOptions;
  readonly #listeners = new Set<(leads: boolean) => void>();
  #until = NEVER;
  #leads = false;
  #cancel: () => void = () => undefined;
  #closed = false;

  constructor(options: LeadershipOptions) {
    this.#options = options;
  }

  leads(): boolean {
    const { clock } = this.#options;
    return clock.monotonic() < this.#until.monotonic && clock.now() < this.#until.wall;
  }

  onLeads(listener: (leads: boolean) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** After each renewal of the lease. Never rejects. */
  async check(): Promise<void> {
    const { pool, boot, lease, log } = this.#options;
    const { until } = lease;
    try {
      const row = await pool.read((q) => q.one(TAKE, [boot]));
      if (this.#closed) return;
      this.#until = row === null ? NEVER : until;
    } catch (error) {
      // What it has lasts as long as it was to.
      if (!this.#closed) log.debug({ error: describeFailure(error) }, "who leads could not be asked");
    }
    this.#tell();
  }

  /** Others need not wait until the lease is over. */
  async giveUp(): Promise<void> {
    const { pool, boot } = this.#options;
    this.abandon();
    await pool.read((q) => q.run("DELETE FROM meta WHERE name = 'leader' AND value = $1::text", [boot]));
  }

  abandon(): void {
    this.#closed = true;
    this.#cancel();
    this.#until = NEVER;
    this.#tell();
  }

  #tell(): void {
    const { clock, log } = this.#options;
    const leads = this.leads();
    this.#cancel();
    if (leads) this.#cancel = clock.after(this.#until.monotonic - clock.monotonic(), () => this.#tell());
    if (leads === this.#leads) return;
    this.#leads = leads;
    log.info({ leads }, leads ? "this node leads the others" : "this node does not lead any more");
    for (const listener of this.#listeners) listener(leads);
  }
}
