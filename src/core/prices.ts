import type { Usage } from "../protocol/entities.ts";
import { fixedChars, matcher } from "./pattern.ts";

/** What a million tokens cost, in units of the currency, with at most six decimals. */
export interface Price {
  readonly input: number;
  readonly output: number;
  /** Of the input, what the provider had cached; without it as the rest of the input. */
  readonly cached_input?: number | undefined;
}

/** By the provider, then by patterns of its model ids. */
export type PriceTable = Readonly<Record<string, Readonly<Record<string, Price>>>>;

/** What a call cost in 1e-9 of the currency; null: its model has no price. Never negative, never past 2^53 - 1. */
export type CostOf = (model: string, usage: Usage) => number | null;

/** Prices in 1e-6 of the currency for a million tokens: 1e-12 for one. */
interface Rate {
  readonly input: bigint;
  readonly output: bigint;
  readonly cached_input: bigint;
}

const MICROS = 1_000_000;
/** 1e-12 in 1e-9. */
const PICOS_PER_NANO = 1_000n;
/** Models whose rate is remembered: names come from users. */
const REMEMBERED = 1_000;

/** All arithmetic is done with integers: what a configuration says has no binary fractions in it. */
export function createPrices(tables: PriceTable): CostOf {
  const rules = new Map(
    Object.entries(tables).map(([provider, prices]) => [
      provider,
      Object.entries(prices)
        .map(([pattern, price]) => ({
          test: matcher(pattern),
          fixed: fixedChars(pattern),
          rate: rateOf(price),
        }))
        .toSorted((a, b) => b.fixed - a.fixed),
    ]),
  );
  const known = new Map<string, Rate | null>();

  function find(model: string): Rate | null {
    const slash = model.indexOf("/");
    const id = model.slice(slash + 1);
    return rules.get(model.slice(0, Math.max(slash, 0)))?.find(({ test }) => test(id))?.rate ?? null;
  }

  return (model, usage) => {
    const found = known.get(model);
    const rate = found === undefined ? find(model) : found;
    if (found === undefined && known.size < REMEMBERED) known.set(model, rate);
    return rate === null ? null : costAt(rate, usage);
  };
}

function costAt(rate: Rate, { input_tokens, output_tokens, cached_tokens = 0 }: Usage): number {
  const cached = Math.min(cached_tokens, input_tokens);
  const picos =
    BigInt(input_tokens - cached) * rate.input +
    BigInt(cached) * rate.cached_input +
    BigInt(output_tokens) * rate.output;
  const nanos = (picos + PICOS_PER_NANO / 2n) / PICOS_PER_NANO;
  return nanos > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER : Number(nanos);
}

function rateOf({ input, output, cached_input = input }: Price): Rate {
  return { input: exact(input), output: exact(output), cached_input: exact(cached_input) };
}

function exact(amount: number): bigint {
  const micros = microsOf(amount);
  if (micros === null) throw new Error(`${amount} is no price: it has at most six decimals`);
  return BigInt(micros);
}

/** An amount of money in 1e-6, by the digits it is written with; null: it is negative, or has more than six decimals. */
export function microsOf(amount: number): number | null {
  const [, whole, decimals = ""] = /^(\d{1,9})(?:\.(\d{1,6}))?$/.exec(String(amount)) ?? [];
  return whole === undefined ? null : Number(whole) * MICROS + Number(decimals.padEnd(6, "0"));
}
