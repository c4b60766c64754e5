/** What is read where it is used: it may be another one each time. */
export interface Reading<T> {
  readonly now: T;
}

/** One value and all that is made of it, ready to take the place of what is. */
interface Prepared {
  /** Neither waits nor throws. */
  swap(): void;
  tell(): void;
}

/**
 * A value that is replaced as a whole while parts hold on to it. What is made of it (`derive`) is made anew for each next
 * one before anything changes, so that a next one of which something cannot be made changes nothing. Then all take their
 * places in one step, in which nothing else happens.
 */
export class Live<T> implements Reading<T> {
  #now: T;
  readonly #derived: ((next: T) => Prepared)[] = [];
  readonly #tell: ((now: T, before: T) => void)[] = [];

  constructor(first: T) {
    this.#now = first;
  }

  get now(): T {
    return this.#now;
  }

  /** @param make what it throws refuses a next value; `before` is what it made last, null at first. It changes nothing. */
  derive<U>(make: (value: T, before: U | null) => U): Live<U> {
    const derived = new Live(make(this.#now, null));
    this.#derived.push((next) => derived.#prepare(make(next, derived.now)));
    return derived;
  }

  /** After each replacement, once everything is in its place. `told` must not throw. */
  onReplaced(told: (now: T, before: T) => void): void {
    this.#tell.push(told);
  }

  /** @throws what `derive` throws: nothing has changed */
  replace(next: T): void {
    const prepared = this.#prepare(next);
    prepared.swap();
    prepared.tell();
  }

  /** @throws what would throw in `replace`; changes nothing */
  check(next: T): void {
    this.#prepare(next);
  }

  #prepare(next: T): Prepared {
    const derived = this.#derived.map((prepare) => prepare(next));
    const before = this.#now;
    return {
      swap: () => {
        this.#now = next;
        for (const each of derived) each.swap();
      },
      tell: () => {
        for (const each of derived) each.tell();
        for (const told of this.#tell) told(next, before);
      },
    };
  }
}

/**
 * An object whose fields read as those of what is now, for parts that take a plain one and look at its fields where they use
 * them. To copy it or to take it apart is to keep what is now. The fields themselves never come or go.
 */
export function viewOf<T extends object>(live: Reading<T>): T {
  const view: object = {};
  for (const key of Object.keys(live.now) as (keyof T)[]) {
    Object.defineProperty(view, key, { enumerable: true, get: () => live.now[key] });
  }
  return Object.freeze(view) as T;
}
