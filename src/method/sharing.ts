import type { Static } from "@sinclair/typebox";
import type { Connection } from "../core/connections.ts";
import type { RowChange } from "../core/operation.ts";
import { Serial } from "../core/serial.ts";
import { shareId, SHARES, takeBack } from "../core/session-mirrors.ts";
import type { SessionRef, ShareRole } from "../core/session.ts";
import {
  sessionDelete,
  sessionShare,
  sessionSubscribe,
  sessionUnshare,
  sessionUnsubscribe,
} from "../protocol/api/session.ts";
import { GatewayError } from "../protocol/errors.ts";
import { appendAndWait } from "./append.ts";
import type { MethodDeps } from "./deps.ts";
import { presenceMethod } from "./presence.ts";
import type { Call } from "./registry.ts";
import type { MethodHandler } from "./registry.ts";
import { handle } from "./registry.ts";
import { endSession, shareDrop } from "./session-end.ts";

/** With how many a session is shared. All of them are in memory, and are told of every change. */
const SHARES_MAX = 200;

/** Who follows a session, who may, and its end. */
export function sharingMethods(deps: MethodDeps): MethodHandler[] {
  const { directory } = deps;
  // Whom it is shared with is settled before it is deleted, and nobody is let in after.
  const changes = new Serial();
  const owned = async (id: string, call: Call, work: (session: SessionRef) => Promise<void>) => {
    const session = await directory.find(call.user, id, "own");
    call.audited?.concerns(session.id);
    await changes.run(session.id, () => {
      directory.require(session, call.user, "own");
      return work(session);
    });
    return undefined;
  };
  return [
    handle(sessionSubscribe, (params, call) => subscribe(deps, params, call)),
    handle(sessionUnsubscribe, async (params, call) => {
      const connection = socketOf(call);
      const session = await directory.find(call.user, params.session_id, "read");
      const subscription = connection.subscriptions.get(session.id);
      subscription?.end();
      return { unsubscribed: subscription !== undefined };
    }),
    presenceMethod(deps),
    handle(sessionShare, ({ session_id, user, role }, call) =>
      owned(session_id, call, (session) => share(deps, session, user, role, call)),
    ),
    handle(sessionUnshare, ({ session_id, user }, call) =>
      owned(session_id, call, (session) => unshare(deps, session, user, call)),
    ),
    handle(sessionDelete, ({ session_id }, call) =>
      owned(session_id, call, (session) =>
        endSession(deps, session, call.user, (command) =>
          appendAndWait(call, deps.journal, deps.clock.now(), command),
        ),
      ),
    ),
  ];
}

async function subscribe(
  { directory, followers }: MethodDeps,
  params: Static<typeof sessionSubscribe.params>,
  call: Call,
): Promise<undefined> {
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

async function share(
  deps: MethodDeps,
  session: SessionRef,
  user: string,
  role: ShareRole,
  call: Call,
): Promise<void> {
  if (user === session.owner) {
    throw new GatewayError("INVALID_REQUEST", "the session is theirs already", {
      details: { kind: "share" },
    });
  }
  const readers = deps.directory.readersOf(session);
  if (readers.length > SHARES_MAX && !readers.includes(user)) throw tooManyShares();
  const data = JSON.stringify({ user, role });
  const place = { collection: SHARES, id: shareId(session.id, user), owner: session.id };
  const row: RowChange = { kind: "record.put", record: { ...place, data, expires_at: null } };
  await commitShare(deps, call, row, () => deps.directory.share(session.id, user, role));
}

function tooManyShares(): GatewayError {
  return new GatewayError("CONFLICT", `full: a session is shared with ${SHARES_MAX} others at most`, {
    details: { kind: "full" },
    limit: { what: "shares_per_session", limit: SHARES_MAX },
  });
}

async function unshare(deps: MethodDeps, session: SessionRef, user: string, call: Call): Promise<void> {
  await commitShare(deps, call, shareDrop(session.id, user), () => takeBack(deps, session.id, user));
}

function commitShare(deps: MethodDeps, call: Call, row: RowChange, committed: () => void): Promise<void> {
  return appendAndWait(call, deps.journal, deps.clock.now(), {
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
