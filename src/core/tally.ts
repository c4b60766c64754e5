/** How many there are of each kind. Kinds of which there are none take no room. */
export class Tally {
  readonly #counts = new Map<string, number>();
  #total = 0;

  get total(): number {
    return this.#total;
  }

  of(kind: string): number {
    return this.#counts.get(kind) ?? 0;
  }

  /** `by` 1: one more, -1: one less. */
  count(kind: string, by: 1 | -1): void {
    const count = this.of(kind) + by;
    if (count > 0) this.#counts.set(kind, count);
    else this.#counts.delete(kind);
    this.#total += by;
  }
}
