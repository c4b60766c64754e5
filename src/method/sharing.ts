import type { Connection } from "../core/connections.ts";
import type { RowChange } from "../core/operation.ts";
import type { SessionRef } from "../core/session.ts";
import {
  presenceList,
  sessionDelete,
  sessionShare,
  sessionSubscribe,
  sessionUnshare,
  sessionUnsubscribe,
} from "../protocol/api/session.ts";
import { GatewayError } from "../protocol/errors.ts";
import { append } from "./append.ts";
import type { MethodDeps } from "./deps.ts";
import type { Call, MethodHandler } from "./registry.ts";
import { handle } from "./registry.ts";

/** Who follows a session, who may, and its end. */
export function sharingMethods(deps: MethodDeps): MethodHandler[] {
  const { directory, connections, followers } = deps;
  return [
    handle(sessionSubscribe, async (params, call) => {
      const connection = socketOf(call);
      const session = await directory.find(call.user, params.session_id, "read");
      const { epoch, after, catch_up = "auto" } = params;
      const request = {
        catch_up,
        ...(epoch !== undefined && { epoch }),
        ...(after !== undefined && { after }),
      };
      await followers.open(connection, session, request, ({ snapshot, ...opening }) => {
        const text = JSON.stringify(opening);
        call.okText(snapshot === undefined ? text : `${text.slice(0, -1)},"snapshot":${snapshot}}`);
      });
      return undefined;
    }),
    handle(sessionUnsubscribe, async (params, call) => {
      const connection = socketOf(call);
      const session = await directory.find(call.user, params.session_id, "read");
      const subscription = connection.subscriptions.get(session.id);
      subscription?.end();
      return { unsubscribed: subscription !== undefined };
    }),
    handle(presenceList, async (params, call) => {
      const session = await directory.find(call.user, params.session_id, "read");
      const watchers = [...connections.all()].filter((connection) =>
        connection.subscriptions.has(session.id),
      );
      return {
        watchers: watchers.map((each) => ({
          connection_id: each.id,
          client_id: each.client_id,
          client_name: each.client_name,
          user: each.principal?.user ?? "",
        })),
      };
    }),
    handle(sessionShare, async (params, call) => {
      const session = await directory.find(call.user, params.session_id, "own");
      const { user, role } = params;
      if (user === session.owner) {
        throw new GatewayError("INVALID_REQUEST", "the session is theirs already", {
          details: { kind: "share" },
        });
      }
      const data = JSON.stringify({ user, role });
      const record = {
        collection: "share",
        id: shareId(session, user),
        owner: session.id,
        data,
        expires_at: null,
      };
      commitShare(deps, call, { kind: "record.put", record }, () => directory.share(session.id, user, role));
      return undefined;
    }),
    handle(sessionUnshare, async (params, call) => {
      const session = await directory.find(call.user, params.session_id, "own");
      const { user } = params;
      commitShare(
        deps,
        call,
        { kind: "record.drop", collection: "share", id: shareId(session, user) },
        () => {
          directory.unshare(session.id, user);
          for (const connection of connections.ofUser(user))
            connection.subscriptions.get(session.id)?.end("revoked");
        },
      );
      return undefined;
    }),
    handle(sessionDelete, async (params, call) => {
      const session = await directory.find(call.user, params.session_id, "own");
      await remove(deps, session, call);
      return undefined;
    }),
  ];
}

function socketOf(call: Call): Connection {
  if (call.caller.connection !== null) return call.caller.connection;
  throw new GatewayError(
    "INVALID_REQUEST",
    "only on a socket: over HTTP read GET /api/v1/sessions/<id>/events",
    {
      details: { kind: "transport" },
    },
  );
}

function shareId(session: SessionRef, user: string): string {
  return `${session.id}:${user}`;
}

function commitShare(deps: MethodDeps, call: Call, row: RowChange, committed: () => void): void {
  append(call, deps.journal, deps.clock.now(), {
    session: null,
    events: [],
    rows: [row],
    remember: {},
    committed: () => {
      committed();
      return {};
    },
  });
}

/** Ends its runs, closes its log, tells who follows it, and erases it behind the answer. */
async function remove(deps: MethodDeps, session: SessionRef, call: Call): Promise<void> {
  const { runs, journal, directory, connections, clock, changes, maintenance } = deps;
  await runs.stop(runs.of(session.id), { status: "aborted", ended_by: call.user, reason: "deleted" });
  const readers = directory.readersOf(session);
  const now = clock.now();
  const shares: RowChange[] = readers
    .filter((user) => user !== session.owner)
    .map((user) => ({ kind: "record.drop", collection: "share", id: shareId(session, user) }));
  append(call, journal, now, {
    session,
    events: [{ type: "session.closed", ts: now, run_id: null, payload: '{"reason":"deleted"}' }],
    rows: [{ kind: "session.close", at: now }, ...shares],
    remember: {},
    committed: ({ tail }) => {
      directory.forget(session);
      for (const user of readers) directory.unshare(session.id, user);
      // The last event is published right after this block's turn; the subscriptions end behind it.
      clock.after(0, () => {
        for (const connection of connections.all()) connection.subscriptions.get(session.id)?.end("deleted");
        changes.deleted(session, tail ?? undefined, readers);
        void maintenance.erase(session.id);
      });
      return {};
    },
  });
}
