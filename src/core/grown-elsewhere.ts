import type { Changes } from "./changes.ts";
import type { Cluster, Summary } from "./cluster.ts";
import type { Journal } from "./journal.ts";
import type { Clock, Logger } from "./ports.ts";
import type { Directory } from "./session.ts";

/** How soon what is heard is read, and how much later what is heard meanwhile. */
const GATHER_MS = 50;
const EVERY_MS = 1_000;
/** Sessions that are read with one question. */
const AT_ONCE = 1_000;
/** How far back it is looked where nobody told for a while: clocks of nodes differ, and listening anew takes its time. */
const BACK_MS = 60_000;

export interface GrownElsewhereOptions {
  readonly cluster: Cluster;
  readonly changes: Changes;
  readonly directory: Directory;
  readonly journal: Journal;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * Tells who is connected here of sessions that other nodes write and this one does not follow: as they are, read for many
 * at once, and only for users who are here.
 */
export class GrownElsewhere {
  readonly #options: GrownElsewhereOptions;
  #grown = new Set<string>();
  /** Some may have grown of which nobody told. */
  #isUnknown = false;
  #isWorking = false;
  #readAt = -Infinity;
  #unlisten: () => void = () => undefined;

  constructor(options: GrownElsewhereOptions) {
    this.#options = options;
  }

  /** Once the store is open. */
  start(): void {
    this.#unlisten = this.#options.cluster.onGrown((ids) => {
      if (ids === null) this.#isUnknown = true;
      else for (const id of ids) this.#grown.add(id);
      this.#work();
    });
  }

  close(): void {
    this.#unlisten();
  }

  #work(): void {
    if (this.#isWorking) return;
    this.#isWorking = true;
    const { clock } = this.#options;
    const due = Math.max(GATHER_MS, this.#readAt + EVERY_MS - clock.monotonic());
    clock.after(due, () => void this.#round());
  }

  async #round(): Promise<void> {
    const { clock, log } = this.#options;
    this.#readAt = clock.monotonic();
    const [ids, isUnknown] = [this.#grown, this.#isUnknown];
    this.#grown = new Set();
    this.#isUnknown = false;
    try {
      await this.#read(ids, isUnknown);
    } catch (error) {
      // The database is away, and those who listen are told anew when it is back.
      log.debug({ err: error }, "sessions that other nodes changed could not be read");
    }
    this.#isWorking = false;
    if (this.#grown.size > 0 || this.#isUnknown) this.#work();
  }

  async #read(ids: ReadonlySet<string>, isUnknown: boolean): Promise<void> {
    const { cluster, changes, directory, journal, clock } = this.#options;
    const readers = changes.users();
    if (readers.size === 0) return;
    const users = [...readers];
    const others: string[] = [];
    for (const id of ids) {
      const tail = journal.tails.peek(id);
      // It may have been loaded as it is now: then nothing that comes into it says so.
      if (tail !== undefined) changes.touch(tail.row, tail);
      else others.push(id);
    }
    for (let from = 0; from < others.length; from += AT_ONCE) {
      const some = others.slice(from, from + AT_ONCE);
      const shared = some.filter((id) => this.#isSharedWith(id, readers));
      this.#tell(await cluster.summaries({ ids: some, since: 0, users, shared, limit: AT_ONCE }));
    }
    if (!isUnknown) return;
    const shared = users.flatMap((user) => directory.sharedWith(user));
    const since = clock.now() - BACK_MS;
    this.#tell(await cluster.summaries({ ids: null, since, users, shared, limit: AT_ONCE }));
  }

  #isSharedWith(id: string, users: ReadonlySet<string>): boolean {
    const { directory } = this.#options;
    return directory.readersOf({ id, owner: "", name: null }).some((user) => users.has(user));
  }

  #tell(summaries: readonly Summary[]): void {
    const { changes, journal } = this.#options;
    for (const { id, owner, name, approvals, ...row } of summaries) {
      // Loaded meanwhile, it has what is here, or is about to be told of it.
      const tail = journal.tails.peek(id);
      changes.touch({ id, owner, name }, tail ?? { row, approvals: { size: approvals } });
    }
  }
}
