/** From half a millisecond to ten seconds: what should be over at once. */
export const FAST_SECS: readonly number[] = [
  0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10,
];
/** From a tenth of a second to half an hour: what a model has a part in. */
export const SLOW_SECS: readonly number[] = [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1_800];

/** How values are spread: how many there were up to each bound, and what they add up to. */
export class Histogram {
  /** Ascending; a value that equals a bound counts for it. */
  readonly bounds: readonly number[];
  /** How many fell between the bound before and this one; the last one, behind all bounds, has the rest. */
  readonly counts: number[];
  sum = 0;

  constructor(bounds: readonly number[]) {
    this.bounds = bounds;
    this.counts = Array.from({ length: bounds.length + 1 }, () => 0);
  }

  /** Takes a value that came so many times. */
  observe(value: number, times = 1): void {
    const { bounds, counts } = this;
    let at = 0;
    // Most values are small, and there are few bounds.
    while (at < bounds.length && value > (bounds[at] as number)) at++;
    counts[at] = (counts[at] as number) + times;
    this.sum += value * times;
  }

  get count(): number {
    return this.counts.reduce((sum, count) => sum + count, 0);
  }
}
