import type { Clock, Logger } from "../../core/ports.ts";
import { describeFailure } from "./failures.ts";
import type { NodeFacts } from "./node-facts.ts";
import type { Pool } from "./pool.ts";
import type { Value } from "./queries.ts";

/** One data directory's. */
export interface NodeName {
  /** Of the data directory: no other node has it. */
  readonly key: string;
  /** For people. */
  readonly name: string;
}

export interface LeaseOptions {
  readonly pool: Pool;
  readonly boot: string;
  readonly node: NodeName;
  /** What it says of itself, asked for at every renewal. */
  readonly facts: () => NodeFacts;
  readonly lease_ms: number;
  readonly clock: Clock;
  readonly log: Logger;
  /** It is over, or it lasts again. */
  readonly onChange: (lasts: boolean) => void;
  /** At the beginning and after every renewal: how many other nodes live. */
  readonly onRenewed: (others: number) => void;
}

/** What others wait for beyond our own end, and so what may pass between a look at the lease and what is done on it. */
const MARGIN_MS = 5_000;
const RENEWALS = 3;
const OTHERS = `(SELECT count(*)::int FROM nodes AS other
  WHERE other.boot <> $1::text AND other.lease_until > clock_timestamp()) AS others`;
/** Rows of nodes that are gone for so long are of no use to anybody. */
const KEPT_SECS = 7 * 86_400;

/**
 * That this node lives, for a while: while others see it in the database they leave its sessions alone. It ends for us
 * before it ends for them, by both clocks: the one stands still while the machine sleeps, the other can be set.
 */
export class Lease {
  readonly #options: LeaseOptions;
  #until = { monotonic: -Infinity, wall: -Infinity };
  #lasts = false;
  #cancelRenewal: () => void = () => undefined;
  #cancelEnd: () => void = () => undefined;
  #closed = false;

  constructor(options: LeaseOptions) {
    this.#options = options;
  }

  /** When it ends for us, by both clocks. */
  get until(): { readonly monotonic: number; readonly wall: number } {
    return this.#until;
  }

  /** Whether it lasts at this moment: to be asked before everything that only the owner of a session may do. */
  lasts(): boolean {
    const { clock } = this.#options;
    return clock.monotonic() < this.#until.monotonic && clock.now() < this.#until.wall;
  }

  /** Begins to live. What went by our name before is gone: whoever holds the data directory goes by it. */
  async begin(): Promise<void> {
    const { boot, node, lease_ms, clock } = this.#options;
    const sent = { monotonic: clock.monotonic(), wall: clock.now() };
    await this.#change("UPDATE nodes SET lease_until = '-infinity' WHERE node_key = $1::text", [node.key]);
    await this.#change(
      `WITH old AS (
         DELETE FROM nodes WHERE lease_until < clock_timestamp() - $4::bigint * interval '1 second' RETURNING boot
       ), counted AS (DELETE FROM node_groups WHERE boot IN (SELECT boot FROM old)),
       numbered AS (INSERT INTO node_groups (boot, group_no) VALUES ($1::text, 0))
       INSERT INTO nodes (boot, node_key, name, facts, lease_until)
       VALUES ($1::text, $2::text, $5::text, $6::text, clock_timestamp() + $3::bigint * interval '1 millisecond')`,
      [boot, node.key, lease_ms, KEPT_SECS, node.name, this.#facts()],
    );
    this.#extend(sent);
    this.#next();
    const counted = await this.#ask(`SELECT ${OTHERS}`, [boot]);
    this.#options.onRenewed(counted?.others ?? 0);
  }

  /** Ends it for everybody: what this node had is free. */
  async end(): Promise<void> {
    this.#closed = true;
    this.#cancelRenewal();
    this.#cancelEnd();
    this.#until = { monotonic: -Infinity, wall: -Infinity };
    const { boot } = this.#options;
    await this.#change(
      "WITH numbered AS (DELETE FROM node_groups WHERE boot = $1::text) DELETE FROM nodes WHERE boot = $1::text",
      [boot],
    );
  }

  /** Gives it up without a word to the database. */
  abandon(): void {
    this.#closed = true;
    this.#cancelRenewal();
    this.#cancelEnd();
    this.#until = { monotonic: -Infinity, wall: -Infinity };
  }

  async #renew(): Promise<void> {
    const { boot, lease_ms, clock, log, onRenewed } = this.#options;
    const sent = { monotonic: clock.monotonic(), wall: clock.now() };
    // The machine may have slept past its end, which no timer tells.
    this.#tell(this.lasts());
    try {
      const renewed = await this.#ask(
        `UPDATE nodes SET lease_until = clock_timestamp() + $2::bigint * interval '1 millisecond', facts = $3::text
         WHERE boot = $1::text RETURNING ${OTHERS}`,
        [boot, lease_ms, this.#facts()],
      );
      if (this.#closed) return;
      if (renewed === null)
        log.error(
          {},
          "this node is not in the database any more: it writes nothing until it is started again",
        );
      else {
        this.#extend(sent);
        onRenewed(renewed.others);
      }
    } catch (error) {
      if (!this.#closed)
        log.warn({ error: describeFailure(error) }, "the lease of this node could not be renewed");
    }
    if (!this.#closed) this.#next();
  }

  #facts(): string {
    return JSON.stringify(this.#options.facts());
  }

  #change(text: string, values: readonly Value[]): Promise<number> {
    return this.#options.pool.read((q) => q.run(text, values));
  }

  #ask(text: string, values: readonly Value[]): Promise<{ readonly others: number } | null> {
    return this.#options.pool.read((q) => q.one(text, values));
  }

  #next(): void {
    const { clock, lease_ms } = this.#options;
    this.#cancelRenewal = clock.after(lease_ms / RENEWALS, () => void this.#renew());
  }

  #extend(sent: { readonly monotonic: number; readonly wall: number }): void {
    const { clock, lease_ms } = this.#options;
    const ours = lease_ms - Math.min(MARGIN_MS, lease_ms / RENEWALS);
    this.#until = { monotonic: sent.monotonic + ours, wall: sent.wall + ours };
    this.#tell(this.lasts());
    this.#cancelEnd();
    this.#cancelEnd = clock.after(this.#until.monotonic - clock.monotonic(), () => this.#tell(this.lasts()));
  }

  #tell(lasts: boolean): void {
    if (lasts === this.#lasts) return;
    this.#lasts = lasts;
    this.#options.onChange(lasts);
  }
}
