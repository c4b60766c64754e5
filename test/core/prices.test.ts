import { expect, test } from "bun:test";
import fc from "fast-check";
import { createPrices, microsOf } from "../../src/core/prices.ts";

const USAGE = { input_tokens: 1_000, output_tokens: 100 };

test("a million tokens cost what is said, in 1e-9 of the currency", () => {
  const costOf = createPrices({ a: { one: { input: 2.5, output: 10, cached_input: 1.25 } } });
  expect(costOf("a/one", { input_tokens: 1_000_000, output_tokens: 0 })).toBe(2_500_000_000);
  expect(costOf("a/one", { input_tokens: 0, output_tokens: 3 })).toBe(30_000);
  // Of the input, what was cached costs less; what was thought costs as what was said.
  const all = { input_tokens: 1_000, cached_tokens: 400, output_tokens: 10, reasoning_tokens: 4 };
  expect(costOf("a/one", all)).toBe(600 * 2_500 + 400 * 1_250 + 10 * 10_000);
  // More was cached than there was: no model's price is negative.
  expect(costOf("a/one", { ...all, cached_tokens: 5_000 })).toBe(1_000 * 1_250 + 10 * 10_000);
});

test("without a price there is no cost, and a price of nothing costs nothing", () => {
  const costOf = createPrices({ a: { free: { input: 0, output: 0 } } });
  expect(costOf("a/free", USAGE)).toBe(0);
  for (const model of ["a/other", "b/free", "free", "", "/free"]) expect(costOf(model, USAGE)).toBeNull();
});

test("of patterns the most specific counts; ids may have slashes", () => {
  const at = (input: number) => ({ input, output: 0 });
  const costOf = createPrices({
    a: { "*": at(1), "gpt-4o*": at(2), "gpt-4o-mini": at(3), "*-mini": at(4), "org/*": at(5) },
  });
  const input = { input_tokens: 1_000_000, output_tokens: 0 };
  const whole = (model: string) => (costOf(model, input) ?? 0) / 1e9;
  expect(["a/x", "a/gpt-4o-2024", "a/gpt-4o-mini", "a/o3-mini", "a/org/big"].map(whole)).toEqual([
    1, 2, 3, 4, 5,
  ]);
  // Asked again, and after many others, the same is said.
  for (let i = 0; i < 3_000; i++) expect(whole(`a/gpt-4o-${i}`)).toBe(2);
  expect(whole("a/gpt-4o-mini")).toBe(3);
});

test("no amount that a price or a usage can be is off by a fraction", () => {
  const micros = fc.integer({ min: 0, max: 999_999_999_999_999 });
  const tokens = fc.integer({ min: 0, max: 100_000_000 });
  fc.assert(
    fc.property(micros, micros, tokens, tokens, (a, b, input_tokens, output_tokens) => {
      const [input, output] = [amount(a), amount(b)];
      // What a number of JavaScript cannot tell apart cannot be configured.
      fc.pre(microsOf(input) === a && microsOf(output) === b);
      const exact = BigInt(input_tokens) * BigInt(a) + BigInt(output_tokens) * BigInt(b);
      const nanos = (exact + 500n) / 1_000n;
      const most = BigInt(Number.MAX_SAFE_INTEGER);
      const expected = Number(nanos > most ? most : nanos);
      const costOf = createPrices({ p: { m: { input, output } } });
      expect(costOf("p/m", { input_tokens, output_tokens })).toBe(expected);
    }),
  );
});

/** As somebody writes it. */
function amount(micros: number): number {
  const digits = String(micros).padStart(7, "0");
  return Number(`${digits.slice(0, -6)}.${digits.slice(-6)}`);
}

test("an amount is read by its digits", () => {
  for (const [given, micros] of [
    [0.1, 100_000],
    [0.3, 300_000],
    [1.005, 1_005_000],
    [0.000001, 1],
    [123_456_789, 123_456_789_000_000],
    [1e-7, null],
    [0.1 + 0.2, null],
    [-1, null],
    [1e10, null],
    [Number.NaN, null],
    [Infinity, null],
  ] as const)
    expect(microsOf(given)).toBe(micros);
});
