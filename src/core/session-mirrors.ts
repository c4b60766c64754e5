import type { Changes } from "./changes.ts";
import type { Connections } from "./connections.ts";
import type { Grants } from "./grants.ts";
import type { Journal } from "./journal.ts";
import type { Mirror } from "./mirrors.ts";
import { mirrorOf } from "./mirrors.ts";
import type { Clock } from "./ports.ts";
import type { Directory, SessionRef, ShareRole } from "./session.ts";
import type { Store } from "./store.ts";
import { SESSIONS } from "./cluster.ts";
import { GRANTS } from "./tool-events.ts";

export const SHARES = "share";
/** What followers have not read of a session when its end is heard of comes first. */
const LAST_MS = 250;

export interface SessionMirrorsOptions {
  readonly store: Store;
  readonly directory: Directory;
  readonly grants: Grants;
  readonly connections: Connections;
  readonly changes: Changes;
  readonly journal: Journal;
  readonly clock: Clock;
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
  for (const connection of connections.ofUser(user)) connection.subscriptions.get(session)?.end("revoked");
}

/** Whose sessions are, with whom they are shared, and what was allowed in them. */
export function sessionMirrors(options: SessionMirrorsOptions): Mirror[] {
  const { store, directory, grants } = options;
  return [
    sessionMirror(options),
    mirrorOf(store, SHARES, {
      apply(id, row) {
        const [session = "", ...rest] = id.split(":");
        const user = rest.join(":");
        if (row === null) takeBack(options, session, user);
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
  const { store, directory, connections, journal, changes, clock } = options;

  function ended(session: SessionRef): void {
    const readers = directory.readersOf(session);
    directory.deleted(session);
    clock.after(LAST_MS, () => {
      for (const each of connections.all()) each.subscriptions.get(session.id)?.end("deleted");
      changes.deleted(session, journal.tails.peek(session.id), readers);
    });
  }

  async function look(id: string): Promise<void> {
    const known = directory.cached(id) ?? followed(connections, id);
    // Nobody here uses it, or it is being made.
    if (known === null || journal.tails.isBusy(id)) return;
    const row = await store.session(id);
    if (row === null) ended(known);
    else if (row.owner !== known.owner || row.name !== known.name)
      directory.transferred(known, row.owner, row.name);
  }

  return {
    collection: SESSIONS,
    async changed(ids) {
      await Promise.all(ids.map(look));
    },
    async all() {
      const ids = new Set(directory.cachedIds());
      for (const { subscriptions } of connections.all()) for (const id of subscriptions.keys()) ids.add(id);
      for (const id of ids) await look(id);
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
