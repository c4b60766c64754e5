/** Values of the same thing, measured again and again. */
export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

export function spread(values: readonly number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b);
  return { median: quantile(sorted, 0.5), min: sorted[0] ?? Number.NaN, max: sorted.at(-1) ?? Number.NaN };
}

export function median(values: readonly number[]): number {
  return spread(values).median;
}

/** Of values sorted upwards, the one that `q` of them do not exceed; the median of an even number is between two. */
export function quantile(sorted: readonly number[], q: number): number {
  const at = (sorted.length - 1) * q;
  const below = sorted[Math.floor(at)] ?? Number.NaN;
  const above = sorted[Math.ceil(at)] ?? Number.NaN;
  return below + (above - below) * (at - Math.floor(at));
}

export interface Quantiles {
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

export function quantiles(values: readonly number[]): Quantiles {
  const sorted = Float64Array.from(values).sort() as unknown as readonly number[];
  return { p50: quantile(sorted, 0.5), p99: quantile(sorted, 0.99), max: sorted.at(-1) ?? Number.NaN };
}

/** Three significant digits, thousands grouped. */
export function round(value: number): string {
  if (!Number.isFinite(value)) return "–";
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.max(Math.abs(value), 1e-3))));
  const scale = 10 ** Math.min(digits, 3);
  const rounded = Math.abs(value) >= 1_000 ? Number(value.toPrecision(3)) : Math.round(value * scale) / scale;
  return rounded.toLocaleString("en-US", { maximumFractionDigits: 3 });
}

/** `52,300/s (49,100–54,000)`. */
export function withRange({ median: middle, min, max }: Spread, unit: string): string {
  return `${round(middle)}${unit} (${round(min)}–${round(max)})`;
}

/** `0.91× (0.88–0.95)`: the ratios of pairs measured one right after the other. */
export function ratioText(ratios: Spread): string {
  return `${ratios.median.toFixed(2)}× (${ratios.min.toFixed(2)}–${ratios.max.toFixed(2)})`;
}

export function ratios(ours: readonly number[], raws: readonly number[]): Spread {
  return spread(ours.map((value, i) => value / (raws[i] ?? Number.NaN)));
}

/** Milliseconds. */
export function ms(value: number): string {
  return `${round(value)} ms`;
}
