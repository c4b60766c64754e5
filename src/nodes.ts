import type { Changes } from "./core/changes.ts";
import type { Cluster } from "./core/cluster.ts";
import type { Connections } from "./core/connections.ts";
import { Feeds } from "./core/feeds.ts";
import type { Hub } from "./core/hub.ts";
import type { Journal } from "./core/journal.ts";
import { isOutOfReach } from "./core/outage.ts";
import type { Clock, Logger } from "./core/ports.ts";
import type { Runs } from "./core/runs.ts";
import type { Directory } from "./core/session.ts";
import type { Shared } from "./core/shared-tails.ts";
import type { Store } from "./core/store.ts";
import { shower } from "./publisher.ts";

export interface NodesOptions {
  readonly clock: Clock;
  readonly log: Logger;
  readonly hub: Hub;
  readonly changes: Changes;
  readonly directory: Directory;
  readonly connections: Connections;
}

/** How soon it is tried again to end what another node left, where the database does not answer. */
const AGAIN_MS = 1_000;

/** How sessions of other nodes are followed here; null: no other node shares the store. */
export function sharedTails(store: Store, options: NodesOptions, here: () => Here): Shared | null {
  const { cluster } = store;
  if (cluster === undefined) return null;
  const { clock, log, directory, connections, changes } = options;
  const isInUse = (session: string): boolean => {
    const { runs, journal } = here();
    const { tails } = journal;
    return runs.lanes.has(session) || (tails.has(session) && !tails.isElsewhere(session));
  };
  const releasing = new Releasing(cluster, clock, log, isInUse);
  const again = (): Promise<void> => new Promise((resolve) => clock.after(AGAIN_MS, resolve));
  return {
    feeds: new Feeds({ cluster, clock, log, publish: shower(options) }),
    read: (session) => cluster.tail(session),
    async left(session, rows) {
      const { id } = session;
      for (let tries = 1; ; tries++) {
        try {
          return await here().runs.endLeft(rows);
        } catch (error) {
          // Whoever has the session next finds the runs again. As long as this node has it, nobody else does.
          if (!isOutOfReach(error))
            return log.error({ session: id, err: error }, "runs that another node left could not be ended");
          if (tries === 1)
            log.warn(
              { session: id, err: error },
              "runs that another node left cannot be ended yet: it is tried again",
            );
        }
        await again();
      }
    },
    dropped(session, wasWritten) {
      cluster.forget(session);
      if (wasWritten) releasing.add(session);
    },
    lost(session, why) {
      const readers = directory.readersOf(session);
      const tail = here().journal.tails.peek(session.id);
      if (why === "deleted") directory.deleted(session);
      for (const connection of connections.all()) connection.subscriptions.get(session.id)?.end(why);
      if (why === "deleted") changes.deleted(session, tail, readers);
    },
  };
}

/** What this node does in sessions. */
interface Here {
  readonly runs: Pick<Runs, "lanes" | "endLeft">;
  readonly journal: Pick<Journal, "tails">;
}

/** How long a session that nobody uses here stays this node's: it may be used again soon. */
const RELEASE_AFTER_MS = 2_000;
const RELEASE_AT_ONCE = 1_000;

/** Sessions that are not in memory any more, on their way to be anybody's. */
class Releasing {
  readonly #cluster: Cluster;
  readonly #clock: Clock;
  readonly #log: Logger;
  /** It was loaded again meanwhile: once it goes from memory it is added again. */
  readonly #isInUse: (session: string) => boolean;
  #sessions = new Set<string>();
  #isDue = false;

  constructor(cluster: Cluster, clock: Clock, log: Logger, isInUse: (session: string) => boolean) {
    this.#cluster = cluster;
    this.#clock = clock;
    this.#log = log;
    this.#isInUse = isInUse;
  }

  add(session: string): void {
    this.#sessions.add(session);
    if (this.#isDue) return;
    this.#isDue = true;
    this.#clock.after(RELEASE_AFTER_MS, () => void this.#release());
  }

  async #release(): Promise<void> {
    this.#isDue = false;
    const sessions = [...this.#sessions].filter((session) => !this.#isInUse(session));
    this.#sessions = new Set();
    try {
      for (let from = 0; from < sessions.length; from += RELEASE_AT_ONCE)
        await this.#cluster.release(sessions.slice(from, from + RELEASE_AT_ONCE));
    } catch (error) {
      // They stay this node's until it stops, or somebody uses them.
      this.#log.debug({ err: error }, "sessions that nobody uses could not be released");
    }
  }
}
