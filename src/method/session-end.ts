import type { RowChange } from "../core/operation.ts";
import { storageRefuses } from "../core/outage.ts";
import type { SessionRef } from "../core/session.ts";
import { sessionPayload } from "../core/session.ts";
import { shareId, SHARES } from "../core/session-mirrors.ts";
import type { CommandAppend } from "./append.ts";
import type { Relay } from "./relay.ts";
import type { MethodDeps } from "./deps.ts";
import { withTail } from "./deps.ts";

export type EndDeps = Pick<
  MethodDeps,
  "runs" | "journal" | "directory" | "connections" | "clock" | "changes" | "maintenance" | "grants"
> & {
  /** Has this node have a session, whose runs elsewhere end so (null: only where there are none). Absent: no other node has any. */
  readonly bring?: Relay["bring"];
};

/** Appends, and resolves when it is committed. */
type Write = (command: CommandAppend) => Promise<void>;

export function shareDrop(session: string, user: string): RowChange {
  return { kind: "record.drop", collection: SHARES, id: shareId(session, user) };
}

/** Ends its runs, closes its log, tells who follows it, and erases it behind the answer. */
export async function endSession(
  deps: EndDeps,
  session: SessionRef,
  by: string,
  write: Write,
): Promise<void> {
  const { runs, journal, directory, connections, clock, changes, maintenance } = deps;
  if (journal.refused !== null) throw storageRefuses();
  const ending = { status: "aborted", ended_by: by, reason: "deleted" } as const;
  await deps.bring?.(session, ending);
  const reopen = await runs.shut(session.id, ending);
  const shared = directory.readersOf(session).filter((user) => user !== session.owner);
  const now = clock.now();
  const shares = shared.map((user) => shareDrop(session.id, user));
  await write({
    session,
    events: [{ type: "session.closed", ts: now, run_id: null, payload: '{"reason":"deleted"}' }],
    rows: [{ kind: "session.close", at: now }, ...shares],
    remember: {},
    committed: ({ tail }) => {
      reopen();
      // Where nodes share the store, that a share went may be heard before this.
      const readers = [...new Set([...directory.readersOf(session), ...shared])];
      directory.deleted(session);
      // The last event is published right after this block's turn; the subscriptions end behind it.
      clock.after(0, () => {
        for (const connection of connections.all()) connection.subscriptions.get(session.id)?.end("deleted");
        changes.deletedEverywhere(session, tail ?? undefined, readers);
        maintenance.eraseRead(session.id);
      });
      return {};
    },
    undo: reopen,
  });
}

/**
 * Gives a session to another user, who calls it by the gateway's id: the name was the choice of the one before, and becomes
 * the title where there is none. Its runs end, and what tools were allowed in it is asked for again; who
 * it is shared with keeps it.
 */
export async function transferSession(
  deps: EndDeps,
  session: SessionRef,
  { to, by }: { readonly to: string; readonly by: string },
  write: Write,
): Promise<void> {
  const { runs, journal, directory, clock, grants } = deps;
  if (journal.refused !== null) throw storageRefuses();
  const ending = { status: "aborted", ended_by: by, reason: "transferred" } as const;
  await deps.bring?.(session, ending);
  const reopen = await runs.shut(session.id, ending);
  try {
    const taken = await grants.drops(session);
    await withTail(deps, session, async ({ row }) => {
      const { model, system_prompt, metadata, archived } = row;
      const title = row.title === "" ? (row.name ?? "") : row.title;
      const payload = sessionPayload({ ...row, title, owner: to });
      await write({
        session,
        events: [{ type: "session.updated", ts: clock.now(), run_id: null, payload }],
        rows: [
          { kind: "session.update", title, model, system_prompt, metadata, archived },
          { kind: "session.transfer", owner: to },
          shareDrop(session.id, to),
          ...taken,
        ],
        remember: {},
        committed: ({ tail }) => {
          directory.transferred(session, to);
          grants.forget(session);
          if (tail !== null) Object.assign(tail.row, { owner: to, name: null });
          return {};
        },
      });
    });
  } finally {
    reopen();
  }
}
