import type { Connection } from "../core/connections.ts";

/** What is before a request on its session, and what says that the next one may go on (idempotent). */
export interface Turn {
  readonly before: Promise<unknown> | null;
  readonly done: () => void;
}

/** Mutating requests of one connection on one session go on one after the other. */
export class Turns {
  readonly #last = new WeakMap<Connection, Map<string, Promise<void>>>();

  /** `ids`: what the session is called, as far as it is known. `before` is null where nothing is before it. */
  take(connection: Connection, ids: ReadonlySet<string>): Turn {
    const turns = this.#last.get(connection) ?? new Map<string, Promise<void>>();
    this.#last.set(connection, turns);
    const before = [...ids].flatMap((id) => turns.get(id) ?? []);
    const mine = Promise.withResolvers<void>();
    for (const id of ids) turns.set(id, mine.promise);
    void mine.promise.then(() => {
      for (const id of ids) if (turns.get(id) === mine.promise) turns.delete(id);
    });
    const [first, ...more] = before;
    if (first === undefined) return { before: null, done: mine.resolve };
    return { before: more.length === 0 ? first : Promise.all(before), done: mine.resolve };
  }
}
