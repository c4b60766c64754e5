import type { Usage } from "../protocol/entities.ts";
import { dayOf } from "./day.ts";
import type { ModelCall } from "./meter.ts";
import type { RowChange } from "./operation.ts";
import type { Clock } from "./ports.ts";
import type { CostOf } from "./prices.ts";
import type { Spending } from "./spending.ts";
import { addCapped } from "./usage.ts";

export interface LedgerOptions {
  readonly clock: Clock;
  readonly costOf: CostOf;
  /** That of every price. */
  readonly currency: string;
  readonly spending: Spending;
}

/** Of all calls since start. */
export interface UsageTotals {
  readonly calls: number;
  readonly unknown_calls: number;
  readonly input: number;
  readonly output: number;
  readonly cached: number;
  readonly reasoning: number;
  /** Of those that have a price; absent: none has. */
  readonly cost?: number;
}

type Totals = { -readonly [K in keyof UsageTotals]: UsageTotals[K] };

/** Models that are counted one by one; calls of further ones are counted as one model. */
const MODELS_MAX = 64;
const OTHER_MODEL = "other";

/** Prices the calls of models, counts them since start and for the budgets of users, and makes the rows that keep them. */
export class Ledger {
  readonly currency: string;
  readonly spending: Spending;
  readonly #options: LedgerOptions;
  readonly #totals = noTotals();
  readonly #models = new Map<string, Totals>();

  constructor(options: LedgerOptions) {
    this.#options = options;
    this.currency = options.currency;
    this.spending = options.spending;
  }

  /** Since start; no cost: no call had a price. */
  totals(): UsageTotals {
    return { ...this.#totals };
  }

  /** Since start, by "provider/model"; past the first 64 of them under "other". */
  models(): IterableIterator<[string, UsageTotals]> {
    return this.#models.entries();
  }

  /** A usage with its cost, which is absent where the model has no price. */
  readonly priced = (model: string, { cost: _, ...usage }: Usage): Usage => {
    const cost = this.#options.costOf(model, usage);
    return cost === null ? usage : { ...usage, cost };
  };

  /** Counts a call for a user, at once; the row is for the operation that tells of it. */
  book(user: string, { model, usage }: ModelCall): RowChange {
    const {
      input_tokens = 0,
      output_tokens = 0,
      cached_tokens = 0,
      reasoning_tokens = 0,
      cost,
    } = usage ?? {};
    const unknown_calls = usage === undefined ? 1 : 0;
    add(this.#totals, usage);
    add(this.#modelTotals(model), usage);
    const entry = {
      day: dayOf(this.#options.clock.now()),
      user,
      model,
      currency: cost === undefined ? "" : this.currency,
      calls: 1,
      unknown_calls,
      input_tokens,
      output_tokens,
      cached_tokens,
      reasoning_tokens,
      cost: cost ?? 0,
    };
    this.spending.add(entry);
    return { kind: "usage.add", entry };
  }

  #modelTotals(model: string): Totals {
    const name = this.#models.has(model) || this.#models.size < MODELS_MAX ? model : OTHER_MODEL;
    const known = this.#models.get(name) ?? noTotals();
    this.#models.set(name, known);
    return known;
  }
}

function noTotals(): Totals {
  return { calls: 0, unknown_calls: 0, input: 0, output: 0, cached: 0, reasoning: 0 };
}

/** Counts a call; undefined: nothing is known of it. */
function add(totals: Totals, usage: Usage | undefined): void {
  totals.calls++;
  if (usage === undefined) totals.unknown_calls++;
  totals.input = addCapped(totals.input, usage?.input_tokens ?? 0);
  totals.output = addCapped(totals.output, usage?.output_tokens ?? 0);
  totals.cached = addCapped(totals.cached, usage?.cached_tokens ?? 0);
  totals.reasoning = addCapped(totals.reasoning, usage?.reasoning_tokens ?? 0);
  if (usage?.cost !== undefined) totals.cost = addCapped(totals.cost ?? 0, usage.cost);
}
