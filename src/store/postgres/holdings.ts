/** What a group showed of the sessions in it, once it is committed. */
export interface HoldingsChange {
  /** This node has them, by these fences. */
  readonly held: readonly { readonly id: string; readonly fence: number }[];
  /** This node had them, and another one has, or had. */
  readonly lost: readonly string[];
  /** There are none of these ids. */
  readonly gone: readonly string[];
}

/**
 * The sessions that this node has, as far as it knows, by the fences it took them with, and those that it had until another
 * node took them: what is in memory of these is not the end of the log any more, so that nothing is appended before it was
 * loaded again.
 */
export class Holdings {
  readonly #held = new Map<string, number>();
  readonly #lost = new Set<string>();

  /** Whether this node had it by a fence. */
  has(id: string): boolean {
    return this.#held.has(id);
  }
  /** Whether what is in memory of a session is behind its log, where its fence is this. */
  isStale(id: string, fence: number): boolean {
    return this.#lost.has(id) || (this.#held.get(id) ?? fence) !== fence;
  }
  note({ held, lost, gone }: HoldingsChange): void {
    for (const id of lost) this.#lost.add(id);
    for (const { id } of held) this.#lost.delete(id);
    for (const id of [...lost, ...gone]) this.#held.delete(id);
    for (const id of gone) this.#lost.delete(id);
    for (const { id, fence } of held) this.#held.set(id, fence);
  }
}
