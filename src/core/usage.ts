import type { Usage } from "../protocol/entities.ts";

/** What calls of models used, together. No amount passes 2^53 - 1: there it stays. */
export interface UsageAmounts {
  readonly calls: number;
  /** Of these, the ones whose provider told no usage; the tokens are those of the others. */
  readonly unknown_calls: number;
  readonly input_tokens: number;
  readonly output_tokens: number;
  /** Of the input, what a provider said it had cached. */
  readonly cached_tokens: number;
  /** Of the output, what was no text. */
  readonly reasoning_tokens: number;
}

/** Calls of one model for one user, as they are added to the accounts. */
export interface UsageEntry extends UsageAmounts {
  /** "2026-01-31", UTC. */
  readonly day: string;
  readonly user: string;
  /** "provider/model". */
  readonly model: string;
  /** That of `cost`; "": the model has no price, or nothing is known of the calls. */
  readonly currency: string;
  /** In 1e-9 of the currency; 0 without one. */
  readonly cost: number;
}

/** What the amounts are summed by. */
export type UsageGrouping = "total" | "day" | "model" | "user" | "session";

export interface UsageQuery {
  /** By "session" only sessions that are there are told. */
  readonly by: UsageGrouping;
  /** What was used for this user; by "session": in the user's own sessions. */
  readonly user?: string;
  /** In this session, for whomever; not with `user` or by "user". */
  readonly session?: string;
  /** First and last day, both counted. */
  readonly since?: string;
  readonly until?: string;
  /** The one that costs are told in. */
  readonly currency: string;
  readonly limit: number;
}

/** One group: the newest day first, of others the one with the most tokens. */
export interface UsageRow extends UsageAmounts {
  /** The day, model, user or session's gateway id; "" for the total, which is there even where nothing was used. */
  readonly key: string;
  /** Calls whose cost is known. */
  readonly priced_calls: number;
  /** In 1e-9 of the currency, of the priced calls. */
  readonly cost: number;
}

/** Models past the bound of a day are counted under this name together. */
export const OTHER_MODELS = "other";

/** Sums as far as an integer is exact. */
export function addCapped(a: number, b: number): number {
  return Math.min(a + b, Number.MAX_SAFE_INTEGER);
}

/** Of several calls together. Where one of them has no price there is no cost: it would be less than it was. */
export function addUsage(a: Usage | undefined, b: Usage | undefined): Usage | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  const sum = (x?: number, y?: number): number | undefined =>
    x === undefined && y === undefined ? undefined : addCapped(x ?? 0, y ?? 0);
  const cached_tokens = sum(a.cached_tokens, b.cached_tokens);
  const reasoning_tokens = sum(a.reasoning_tokens, b.reasoning_tokens);
  const unknown_calls = sum(a.unknown_calls, b.unknown_calls);
  return {
    input_tokens: addCapped(a.input_tokens, b.input_tokens),
    output_tokens: addCapped(a.output_tokens, b.output_tokens),
    ...(cached_tokens !== undefined && { cached_tokens }),
    ...(reasoning_tokens !== undefined && { reasoning_tokens }),
    ...(a.cost !== undefined && b.cost !== undefined && { cost: addCapped(a.cost, b.cost) }),
    ...(unknown_calls !== undefined && { unknown_calls }),
  };
}
