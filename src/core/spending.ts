import { GatewayError } from "../protocol/errors.ts";
import { dayOf, endOfDay, endOfMonth, monthOf } from "./day.ts";
import type { Clock } from "./ports.ts";
import type { Store } from "./store.ts";
import type { UsageEntry, UsageRow } from "./usage.ts";
import { addCapped } from "./usage.ts";

const BOUNDS = ["day_tokens", "day_cost", "month_tokens", "month_cost"] as const;
type Bound = (typeof BOUNDS)[number];

/** What one user may use in a day and in a month of UTC; 0: no bound. Costs in 1e-9 of the currency. */
export type UserBounds = Readonly<Record<Bound, number>>;

export interface SpendingOptions {
  readonly clock: Clock;
  readonly store: Pick<Store, "usage" | "cluster">;
  readonly currency: string;
  readonly boundsOf: (user: string) => UserBounds;
}

/** One bound of a user. */
export interface BudgetState {
  readonly what: Bound;
  readonly limit: number;
  readonly spent: number;
  /** When it begins again, milliseconds since 1970. */
  readonly resets_at: number;
}

interface Spent extends Record<Bound, number> {
  day: string;
  /** By the monotonic clock. */
  read_at: number;
}

/** Where nodes share the accounts what others used is read anew so often, before a call. */
const FRESH_MS = 1_000;

/**
 * What users have used of what they may: read once from the accounts, before the first call for somebody with a bound,
 * and counted from then on. Calls that are under way count when they are over, so several at once may pass a bound.
 */
export class Spending {
  readonly #options: SpendingOptions;
  readonly #known = new Map<string, Spent>();
  readonly #reading = new Map<string, Promise<GatewayError | null>>();

  constructor(options: SpendingOptions) {
    this.#options = options;
  }

  /** Null: `over` can tell. Else resolves with null once it can, or with why it cannot; never rejects. */
  load(user: string): Promise<GatewayError | null> | null {
    if (this.#isFresh(user) || !this.#isBounded(user)) return null;
    const known = this.#reading.get(user);
    if (known !== undefined) return known;
    const read = async (): Promise<GatewayError | null> => {
      try {
        await this.#read(user);
        return null;
      } catch (cause) {
        // What is known of before goes on to count.
        if (this.#known.has(user)) return null;
        return new GatewayError(
          "UNAVAILABLE",
          "what was used of the budget cannot be read; nothing was asked",
          {
            details: { kind: "storage" },
            cause,
          },
        );
      } finally {
        this.#reading.delete(user);
      }
    };
    const reading = read();
    this.#reading.set(user, reading);
    return reading;
  }

  /** A call is over. Its user was loaded before it was made. */
  add(entry: UsageEntry): void {
    const spent = this.#known.get(entry.user);
    if (spent === undefined) return;
    this.#turnTo(spent, entry.day);
    const tokens = addCapped(entry.input_tokens, entry.output_tokens);
    for (const bound of BOUNDS) spent[bound] = addCapped(spent[bound], isCost(bound) ? entry.cost : tokens);
  }

  /** The user is gone: who has the name next has used nothing. */
  forget(user: string): void {
    this.#known.delete(user);
  }

  /** What a user may use, and has used of it; nothing where nothing is bounded. The user was loaded. */
  of(user: string): BudgetState[] {
    const spent = this.#known.get(user);
    if (spent === undefined) return [];
    const { clock, boundsOf } = this.#options;
    const now = clock.now();
    this.#turnTo(spent, dayOf(now));
    const bounds = boundsOf(user);
    return BOUNDS.filter((what) => bounds[what] > 0).map((what) => {
      const resets_at = isMonthly(what) ? endOfMonth(now) : endOfDay(now);
      return { what, limit: bounds[what], spent: spent[what], resets_at };
    });
  }

  /** Why nothing more may be asked for this user; null: it may. */
  over(user: string): GatewayError | null {
    // Of two that are reached the one that lasts longer.
    const reached = this.of(user).findLast(({ spent, limit }) => spent >= limit);
    if (reached === undefined) return null;
    const { what, limit, spent, resets_at } = reached;
    const unit = isCost(what) ? `${limit / 1e9} ${this.#options.currency}` : `${limit} tokens`;
    const span = isMonthly(what) ? "month" : "day";
    return new GatewayError(
      "CONFLICT",
      `the budget of ${user} for this ${span} is spent (budgets.${what}: ${unit}); the next begins on ${dayOf(resets_at)}, UTC`,
      { details: { kind: "budget", spent, resets_at }, limit: { what, limit } },
    );
  }

  #isFresh(user: string): boolean {
    const { clock, store } = this.#options;
    const known = this.#known.get(user);
    return (
      known !== undefined && (store.cluster === undefined || clock.monotonic() - known.read_at < FRESH_MS)
    );
  }

  #isBounded(user: string): boolean {
    const bounds = this.#options.boundsOf(user);
    return BOUNDS.some((bound) => bounds[bound] > 0);
  }

  async #read(user: string): Promise<void> {
    const { clock, store, currency } = this.#options;
    const day = dayOf(clock.now());
    const read_at = clock.monotonic();
    const sum = async (since: string): Promise<UsageRow | undefined> =>
      (await store.usage({ by: "total", user, since, currency, limit: 1 }))[0];
    const [today, month] = await Promise.all([sum(day), sum(`${monthOf(day)}-01`)]);
    const read: Spent = {
      day,
      read_at,
      day_tokens: tokensOf(today),
      month_tokens: tokensOf(month),
      day_cost: today?.cost ?? 0,
      month_cost: month?.cost ?? 0,
    };
    const known = this.#known.get(user);
    // What was used here last may not be written yet.
    if (known !== undefined) {
      this.#turnTo(known, day);
      if (known.day === day) for (const bound of BOUNDS) read[bound] = Math.max(read[bound], known[bound]);
    }
    this.#known.set(user, read);
  }

  /** What is counted for a day or a month that is over begins again. A clock that goes back forgives nothing. */
  #turnTo(spent: Spent, day: string): void {
    if (day <= spent.day) return;
    if (monthOf(day) > monthOf(spent.day)) spent.month_tokens = spent.month_cost = 0;
    spent.day_tokens = spent.day_cost = 0;
    spent.day = day;
  }
}

function tokensOf(row: UsageRow | undefined): number {
  return addCapped(row?.input_tokens ?? 0, row?.output_tokens ?? 0);
}

function isMonthly(bound: Bound): boolean {
  return bound.startsWith("month");
}

function isCost(bound: Bound): boolean {
  return bound.endsWith("cost");
}
