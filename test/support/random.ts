/** Random numbers that come again with their seed. */
export interface Random {
  /** 0 ≤ x < 1 */
  fraction(): number;
  /** least ≤ n ≤ most, whole. */
  between(least: number, most: number): number;
  /** As between, small numbers as often as large ones. */
  spread(least: number, most: number): number;
  pick<T>(choices: readonly [T, ...T[]]): T;
  /** True so often, 0 to 1. */
  chance(share: number): boolean;
}

export function seeded(seed: number): Random {
  let state = seed >>> 0;
  function fraction(): number {
    // mulberry32
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  }
  function between(least: number, most: number): number {
    return least + Math.floor(fraction() * (most - least + 1));
  }
  return {
    fraction,
    between,
    spread(least, most) {
      const log = Math.log(least + 1) + fraction() * (Math.log(most + 2) - Math.log(least + 1));
      return Math.min(most, Math.max(least, Math.floor(Math.exp(log)) - 1));
    },
    pick: (choices) => choices[between(0, choices.length - 1)] ?? choices[0],
    chance: (share) => fraction() < share,
  };
}
