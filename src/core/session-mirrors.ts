import type { Changes } from "./changes.ts";
import type { Connections } from "./connections.ts";
import type { Grants } from "./grants.ts";
import type { Journal } from "./journal.ts";
import type { Mirror } from "./mirrors.ts";
import { mirrorOf } from "./mirrors.ts";
import type { Directory, SessionRef, ShareRole } from "./session.ts";
import type { Store } from "./store.ts";
import { SESSIONS } from "./cluster.ts";
import { GRANTS } from "./tool-events.ts";

export const SHARES = "share";

/** Sessions that are read with one question. */
const AT_ONCE = 1_000;

export interface SessionMirrorsOptions {
  readonly store: Store;
  readonly directory: Directory;
  readonly grants: Grants;
  readonly connections: Connections;
  readonly changes: Changes;
  readonly journal: Journal;
}

export function shareId(session: string, user: string): string {
  return `${session}:${user}`;
}

/** A share is gone: it acts at once, on what is open too. */
export function takeBack(
  { directory, connections }: Pick<SessionMirrorsOptions, "directory" | "connections">,
  session: string,
  user: string,
): void {
  directory.unshare(session, user);
  endRevoked(connections, session, user);
}

function endRevoked(connections: Connections, session: string, user: string): void {
  for (const connection of connections.ofUser(user)) connection.subscriptions.get(session)?.end("revoked");
}

/** Whose sessions are, with whom they are shared, and what was allowed in them. */
export function sessionMirrors(options: SessionMirrorsOptions): Mirror[] {
  const { store, directory, grants, connections } = options;

  /** Heard of a share that is gone. Where its session went with it, whoever follows it is told of that. */
  async function gone(session: string, user: string): Promise<void> {
    directory.unshare(session, user);
    const isDeleted = await store.session(session).then(
      (row) => row === null,
      () => false,
    );
    if (!isDeleted) endRevoked(connections, session, user);
  }

  return [
    sessionMirror(options),
    mirrorOf(store, SHARES, {
      apply(id, row) {
        const [session = "", ...rest] = id.split(":");
        const user = rest.join(":");
        if (row === null) void gone(session, user);
        else directory.share(session, user, (JSON.parse(row.data) as { role: ShareRole }).role);
      },
      ids: () => directory.shares().map(({ session, user }) => shareId(session, user)),
    }),
    {
      collection: GRANTS,
      async changed(ids) {
        for (const id of ids) grants.forget({ id: id.split("/", 1)[0] ?? "" });
      },
      all: async () => grants.forgetAll(),
    },
  ];
}

function sessionMirror(options: SessionMirrorsOptions): Mirror {
  const { store, directory, connections, journal, changes } = options;

  function ended(session: SessionRef): void {
    const readers = directory.readersOf(session);
    directory.deleted(session);
    const tail = journal.tails.peek(session.id);
    // What followers have not read of it comes first.
    void journal.tails.readOn(session.id).then(() => {
      for (const each of connections.all()) each.subscriptions.get(session.id)?.end("deleted");
      changes.deleted(session, tail, readers);
    });
  }

  async function look(ids: readonly string[]): Promise<void> {
    for (let from = 0; from < ids.length; from += AT_ONCE) {
      // The others nobody here uses, or they are being made.
      const some = ids.slice(from, from + AT_ONCE).flatMap((id) => {
        const known = directory.cached(id) ?? followed(connections, id);
        return known === null || journal.tails.isBusy(id) ? [] : known;
      });
      if (some.length === 0) continue;
      const found = (await store.cluster?.refs(some.map(({ id }) => id))) ?? [];
      const now = new Map(found.map((each) => [each.id, each]));
      for (const known of some) {
        const is = now.get(known.id);
        if (is === undefined) ended(known);
        else if (is.owner !== known.owner || is.name !== known.name)
          directory.transferred(known, is.owner, is.name);
      }
    }
  }

  return {
    collection: SESSIONS,
    changed: look,
    async all() {
      const ids = new Set(directory.cachedIds());
      for (const { subscriptions } of connections.all()) for (const id of subscriptions.keys()) ids.add(id);
      await look([...ids]);
    },
  };
}

function followed(connections: Connections, id: string): SessionRef | null {
  for (const { subscriptions } of connections.all()) {
    const found = subscriptions.get(id);
    if (found !== undefined) return found.session;
  }
  return null;
}
