import type { Journal } from "../core/journal.ts";
import type { RowChange } from "../core/operation.ts";
import type { RecordRow } from "../core/record.ts";
import { THROTTLED } from "../core/record.ts";
import type { Clock } from "../core/ports.ts";
import type { Store } from "../core/store.ts";
import { GatewayError } from "../protocol/errors.ts";
import { networkOf } from "./address.ts";
import type { Bucket, BucketRule } from "./bucket.ts";
import { afterWrong, leftIn, spentAt } from "./bucket.ts";

/** For one address: ten wrong ones at once, then after a while one a minute. */
export const ADDRESS_RULE: BucketRule = { burst: 10, refill_ms: 60_000, first_ms: 1_000, longest_ms: 60_000 };
/** For all of them together: a hundred at once, then one a second. */
export const GLOBAL_RULE: BucketRule = { burst: 100, refill_ms: 1_000, first_ms: 125, longest_ms: 1_000 };
/** Addresses that are remembered; the one whose last wrong credential is oldest goes first. */
export const MAX_ADDRESSES = 10_000;

const EVERYBODY = "*";
/** Wrong secrets of one address that are known again. */
const MARKS_KEPT = 8;
/** What changed is written together, this seldom and so much at once. */
const WRITE_EVERY_MS = 5_000;
const WRITE_ROWS = 256;

/** How soon other nodes count what was wrong here, and of how many networks at once. */
const TELL_EVERY_MS = 250;
const TOLD_KEYS = 60;

/** What nodes tell each other. */
interface Told {
  readonly all: number;
  readonly keys: readonly (readonly [string, number])[];
}

export interface ThrottleOptions {
  readonly store: Store;
  readonly journal: Journal;
  readonly clock: Clock;
}

interface Place {
  bucket: Bucket;
  readonly marks: Set<string>;
}

/** As stored: times are milliseconds since 1970. */
interface StoredBucket {
  readonly spent: number;
  readonly at: number;
  readonly until: number;
}

/**
 * Counts wrong credentials, by address (IPv6: by /64) and in all, and says how long the next one has to wait. Who
 * presents a right token never asks it. What it knows survives a restart, but for the last seconds before a crash.
 */
export class Throttle {
  readonly #options: ThrottleOptions;
  /** In the order of their last wrong credential. */
  readonly #places = new Map<string, Place>();
  #all: Bucket | null = null;
  /** Passwords that are being looked at, by address. */
  readonly #held = new Map<string, number>();
  #heldInAll = 0;
  readonly #unwritten = new Set<string>();
  /** Wrong ones that other nodes were not told of, by network, and in all. */
  readonly #untold = new Map<string, number>();
  #untoldInAll = 0;
  #cancelTelling: (() => void) | null = null;
  #unlisten: () => void = () => undefined;
  #cancel: (() => void) | null = null;
  #closed = false;

  constructor(options: ThrottleOptions) {
    this.#options = options;
  }

  get addresses(): number {
    return this.#places.size;
  }

  /** Once, after the store was opened and before anybody is let in. */
  async start(): Promise<void> {
    const { store, clock } = this.#options;
    this.#unlisten = store.cluster?.onTold(THROTTLED, (text) => this.#hear(text)) ?? this.#unlisten;
    const [now, monotonic] = [clock.now(), clock.monotonic()];
    const rows = (await store.records(THROTTLED)).map(({ id, data }) => ({
      id,
      stored: JSON.parse(data) as StoredBucket,
    }));
    for (const { id, stored } of rows.toSorted((a, b) => a.stored.at - b.stored.at)) {
      const rule = id === EVERYBODY ? GLOBAL_RULE : ADDRESS_RULE;
      // A wall clock that was set back must not make a delay longer than it can be.
      const rest = Math.min(rule.longest_ms, stored.until - now);
      const at = monotonic - Math.max(0, now - stored.at);
      const bucket = { spent: stored.spent, at, until: monotonic + rest };
      if (id === EVERYBODY) this.#all = bucket;
      else this.#put(id, { bucket, marks: new Set() });
    }
  }

  /** Milliseconds until what this address shows is looked at, counting what all others did, too; 0: now. */
  wait(address: string): number {
    return Math.max(this.waitHere(address), this.#left(this.#all));
  }

  /** The same by what this address alone did: for what others cannot be kept out of by guesses from everywhere. */
  waitHere(address: string): number {
    return this.#left(this.#places.get(networkOf(address))?.bucket ?? null);
  }

  /** Whether this address has shown the same wrong secret before: then it is no other guess. */
  knows(address: string, mark: string): boolean {
    return this.#places.get(networkOf(address))?.marks.has(mark) === true;
  }

  /** A credential was wrong. `mark` stands for its secret. */
  wrong(address: string, mark: string): void {
    const now = this.#options.clock.monotonic();
    this.wrongHere(address, mark);
    this.#all = afterWrong(this.#all, GLOBAL_RULE, now);
    this.#untoldInAll++;
    if (this.#all.until > now) this.#write(EVERYBODY);
  }

  /** The same by what this address alone did, where something was looked at although all others together did too much. */
  wrongHere(address: string, mark: string): void {
    const now = this.#options.clock.monotonic();
    const key = networkOf(address);
    const place = this.#places.get(key);
    const marks = place?.marks ?? new Set();
    marks.add(mark);
    if (marks.size > MARKS_KEPT) marks.delete([...marks][0] ?? "");
    const bucket = afterWrong(place?.bucket ?? null, ADDRESS_RULE, now);
    this.#put(key, { bucket, marks });
    this.#tell(key);
    // One that has room left is not worth a write.
    if (bucket.until > now) this.#write(key);
  }

  /**
   * The same for a password, by what this address alone did. No more are looked at at once than could be wrong without
   * a delay, so that guesses side by side are no more than guesses in turn.
   */
  turnOf(address: string): number {
    const key = networkOf(address);
    const bucket = this.#places.get(key)?.bucket ?? null;
    const wait = this.#left(bucket);
    if (wait > 0) return wait;
    const room = Math.max(1, leftIn(bucket, ADDRESS_RULE, this.#options.clock.monotonic()));
    return (this.#held.get(key) ?? 0) < room ? 0 : ADDRESS_RULE.first_ms;
  }

  /** Whether a password of this address is being looked at. */
  holds(address: string): boolean {
    return this.#held.has(networkOf(address));
  }

  /** Asks to look at a password: 0, and `release` has to follow, or milliseconds to wait. */
  take(address: string): number {
    const wait = Math.max(this.turnOf(address), this.#left(this.#all));
    if (wait > 0) return wait;
    const room = Math.max(1, leftIn(this.#all, GLOBAL_RULE, this.#options.clock.monotonic()));
    if (this.#heldInAll >= room) return GLOBAL_RULE.first_ms;
    const key = networkOf(address);
    this.#held.set(key, (this.#held.get(key) ?? 0) + 1);
    this.#heldInAll++;
    return 0;
  }

  /** It was looked at, whatever came of it. */
  release(address: string): void {
    const key = networkOf(address);
    const held = (this.#held.get(key) ?? 0) - 1;
    if (held > 0) this.#held.set(key, held);
    else this.#held.delete(key);
    this.#heldInAll--;
  }

  /** Queues what was not written yet: before the journal is drained. Idempotent. */
  close(): void {
    this.#closed = true;
    this.#cancel?.();
    this.#cancel = null;
    this.#unlisten();
    this.#cancelTelling?.();
    while (this.#unwritten.size > 0) this.#flush();
  }

  /** A guess at one node is one at all of them. Not through the store: where that is away each node counts by itself. */
  #tell(key: string): void {
    const { store, clock } = this.#options;
    if (store.cluster === undefined || this.#closed) return;
    this.#untold.set(key, (this.#untold.get(key) ?? 0) + 1);
    this.#cancelTelling ??= clock.after(TELL_EVERY_MS, () => {
      this.#cancelTelling = null;
      // Of a flood from everywhere the number in all is enough.
      const told: Told = { all: this.#untoldInAll, keys: [...this.#untold].slice(0, TOLD_KEYS) };
      this.#untold.clear();
      this.#untoldInAll = 0;
      store.cluster?.tell(THROTTLED, JSON.stringify(told));
    });
  }

  #hear(text: string): void {
    const { all, keys } = JSON.parse(text) as Told;
    const now = this.#options.clock.monotonic();
    for (const [key, count] of keys) {
      const place = this.#places.get(key);
      const bucket = afterSome(place?.bucket ?? null, ADDRESS_RULE, count, now);
      if (bucket !== null) this.#put(key, { bucket, marks: place?.marks ?? new Set() });
    }
    this.#all = afterSome(this.#all, GLOBAL_RULE, all, now);
  }

  #left(bucket: Bucket | null): number {
    return bucket === null ? 0 : Math.max(0, Math.ceil(bucket.until - this.#options.clock.monotonic()));
  }

  #put(key: string, place: Place): void {
    this.#places.delete(key);
    this.#places.set(key, place);
    if (this.#places.size <= MAX_ADDRESSES) return;
    const [oldest = ""] = this.#places.keys();
    this.#places.delete(oldest);
    this.#unwritten.delete(oldest);
  }

  #write(key: string): void {
    this.#unwritten.add(key);
    if (!this.#closed) this.#cancel ??= this.#options.clock.after(WRITE_EVERY_MS, () => this.#due());
  }

  #due(): void {
    this.#cancel = null;
    this.#flush();
    if (this.#unwritten.size > 0) this.#cancel = this.#options.clock.after(WRITE_EVERY_MS, () => this.#due());
  }

  #flush(): void {
    const rows: RowChange[] = [];
    for (const key of this.#unwritten) {
      if (rows.length === WRITE_ROWS) break;
      this.#unwritten.delete(key);
      const bucket = key === EVERYBODY ? this.#all : this.#places.get(key)?.bucket;
      if (bucket) rows.push({ kind: "record.put", record: this.#record(key, bucket) });
    }
    // Where storage refuses it, a restart forgets: nothing waits for this.
    const settle = (): void => undefined;
    this.#options.journal.append({ session: null, run: null, ack: false, events: [], rows, settle });
  }

  #record(id: string, bucket: Bucket): RecordRow {
    const { clock } = this.#options;
    const [now, monotonic] = [clock.now(), clock.monotonic()];
    const rule = id === EVERYBODY ? GLOBAL_RULE : ADDRESS_RULE;
    const spent = spentAt(bucket, rule, monotonic);
    const stored: StoredBucket = { spent, at: now, until: now + (bucket.until - monotonic) };
    const expires_at = Math.ceil(now + spent * rule.refill_ms);
    return { collection: THROTTLED, id, owner: "", data: JSON.stringify(stored), expires_at };
  }
}

function afterSome(bucket: Bucket | null, rule: BucketRule, count: number, now: number): Bucket | null {
  let after = bucket;
  // More than this no bucket holds.
  for (let i = 0; i < Math.min(count, 2 * rule.burst); i++) after = afterWrong(after, rule, now);
  return after;
}

/** What a wrong credential reads that came too soon. */
export function tooManyGuesses(wait_ms: number): GatewayError {
  return new GatewayError(
    "RATE_LIMITED",
    "too many wrong credentials: try again later; a right token is let in at any time",
    { details: { kind: "logins" }, retry_after_ms: wait_ms },
  );
}
