/** What a group showed of the sessions in it, once it is committed. */
export interface HoldingsChange {
  /** This node has them, by these fences. */
  readonly held: readonly { readonly id: string; readonly fence: number }[];
  /** It still has these, by these fences, where it knew of them; nothing of them came into memory. */
  readonly kept: readonly { readonly id: string; readonly fence: number }[];
  /** This node had them, and another one has, or had. */
  readonly lost: readonly string[];
  /** There are none of these ids. */
  readonly gone: readonly string[];
}

/**
 * The sessions that this node has, as far as it knows, by the fences it took them with, and those that it had until another
 * node took them: what is in memory of these is not the end of the log any more, so that nothing is appended before it was
 * loaded again. It knows of those alone that are in memory.
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
  /** Of how many it knows. */
  get size(): number {
    return new Set([...this.#held.keys(), ...this.#lost]).size;
  }
  /** Nothing of it is in memory or on its way into the log: what comes next begins with what is in the log. */
  forget(id: string): void {
    this.#held.delete(id);
    this.#lost.delete(id);
  }
  note({ held, kept, lost, gone }: HoldingsChange): void {
    // One may have gone from memory since the group was begun.
    for (const id of lost) if (this.#held.has(id)) this.#lost.add(id);
    for (const { id } of held) this.#lost.delete(id);
    for (const id of [...lost, ...gone]) this.#held.delete(id);
    for (const id of gone) this.#lost.delete(id);
    for (const { id, fence } of held) this.#held.set(id, fence);
    for (const { id, fence } of kept) if (this.#held.has(id)) this.#held.set(id, fence);
  }
}
