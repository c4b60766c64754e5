import type { Tail } from "./tail.ts";

/** A session at one head: JSON text made once for all who ask meanwhile. */
export interface SnapshotText {
  readonly at: number;
  readonly epoch: string;
  readonly text: string;
}

interface Entry {
  /** Weak: a tail that is dropped has to go, with the events it holds. */
  readonly tail: WeakRef<Tail>;
  readonly made: Promise<SnapshotText | null>;
  size: number;
}

/** Characters of all snapshots that are kept: a storm of readers asks for few at a time. */
const MAX_CHARS = 16 * 1024 * 1024;
const MAX_SNAPSHOTS = 1_000;

/** Snapshots by what they are called, the least recently used first: only so many, and so much in all. */
export class SnapshotCache {
  readonly #entries = new Map<string, Entry>();
  #chars = 0;

  /**
   * The snapshot of a tail, or one that is being made, where `isFresh`; else `make` makes it, once for all who ask
   * meanwhile. Null, as it is made, is not kept.
   */
  async of(
    key: string,
    tail: Tail,
    isFresh: (snapshot: SnapshotText) => boolean,
    make: () => Promise<SnapshotText | null>,
  ): Promise<SnapshotText | null> {
    for (;;) {
      const known = this.#entries.get(key);
      if (known === undefined || known.tail.deref() !== tail) return this.#add(key, tail, make());
      const snapshot = await known.made;
      if (snapshot !== null && isFresh(snapshot)) {
        this.#touch(key, known);
        return snapshot;
      }
      // Somebody else who waited may have begun the next one by now.
      if (this.#entries.get(key) === known) this.#drop(key, known);
    }
  }

  #add(key: string, tail: Tail, made: Promise<SnapshotText | null>): Promise<SnapshotText | null> {
    const before = this.#entries.get(key);
    if (before !== undefined) this.#drop(key, before);
    const entry: Entry = { tail: new WeakRef(tail), made, size: 0 };
    this.#entries.set(key, entry);
    made.then(
      (snapshot) => this.#made(key, entry, snapshot),
      () => this.#drop(key, entry),
    );
    return made;
  }

  #made(key: string, entry: Entry, snapshot: SnapshotText | null): void {
    if (this.#entries.get(key) !== entry) return;
    if (snapshot === null) return this.#drop(key, entry);
    entry.size = snapshot.text.length;
    this.#chars += entry.size;
    for (const [oldest, each] of this.#entries) {
      if (this.#chars <= MAX_CHARS && this.#entries.size <= MAX_SNAPSHOTS) return;
      if (each !== entry) this.#drop(oldest, each);
    }
  }

  #touch(key: string, entry: Entry): void {
    if (this.#entries.get(key) !== entry) return;
    this.#entries.delete(key);
    this.#entries.set(key, entry);
  }

  #drop(key: string, entry: Entry): void {
    if (this.#entries.get(key) !== entry) return;
    this.#entries.delete(key);
    this.#chars -= entry.size;
  }
}
