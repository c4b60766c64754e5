import type { Approvals } from "../core/approvals.ts";
import type { Changes } from "../core/changes.ts";
import type { Connections } from "../core/connections.ts";
import type { Followers } from "../core/follow.ts";
import type { Grants } from "../core/grants.ts";
import type { Hooks } from "../core/hooks.ts";
import type { Hub } from "../core/hub.ts";
import type { Journal } from "../core/journal.ts";
import type { BusyPolicy } from "../core/lane.ts";
import type { Ledger } from "../core/ledger.ts";
import type { Limits } from "../core/limits.ts";
import type { Maintenance } from "../core/maintenance.ts";
import type { Clock, ModelRouter, Toolbox } from "../core/ports.ts";
import type { Store } from "../core/store.ts";
import type { Runs } from "../core/runs.ts";
import type { Directory, SessionRef } from "../core/session.ts";
import { noSession } from "../core/session.ts";
import type { Observers } from "../core/observers.ts";
import type { OtherNodes } from "../core/other-nodes.ts";
import type { Slots } from "../core/slots.ts";
import type { Stats } from "../core/stats.ts";
import type { Tail } from "../core/tail.ts";
import { NoSuchSession } from "../core/slot.ts";

/** What a message does to a session that is answering already. */
export type SendPolicy = BusyPolicy | "steer";

/** What the handlers work with. */
export interface MethodDeps {
  readonly store: Store;
  readonly journal: Journal;
  readonly directory: Directory;
  readonly followers: Followers;
  readonly connections: Connections;
  readonly changes: Changes;
  readonly maintenance: Maintenance;
  readonly hub: Hub;
  readonly hooks: Hooks;
  readonly runs: Runs;
  readonly ledger: Ledger;
  readonly router: ModelRouter;
  readonly toolbox: Toolbox;
  readonly approvals: Approvals;
  readonly grants: Grants;
  readonly clock: Clock;
  readonly limits: Limits;
  /** Store reads for readers, bounded. */
  readonly reads: Slots;
  readonly stats: Stats;
  readonly observers: Observers;
  readonly nodes: OtherNodes;
  /** Read each time. */
  readonly settings: { readonly on_busy: SendPolicy };
}

/** A session's tail, pinned while `work` uses it. @throws GatewayError NOT_FOUND */
export async function withTail<T>(
  deps: Pick<MethodDeps, "journal">,
  session: SessionRef,
  work: (tail: Tail) => Promise<T> | T,
): Promise<T> {
  let tail: Tail;
  try {
    tail = await deps.journal.tails.pin(session);
  } catch (error) {
    throw error instanceof NoSuchSession ? noSession() : error;
  }
  try {
    return await work(tail);
  } finally {
    deps.journal.tails.release(session.id);
  }
}

/** Resolves when readers are shown the session up to `head`: what was read from the store may be ahead of them. */
export async function published(deps: MethodDeps, session: SessionRef, head: number): Promise<void> {
  const { tails } = deps.journal;
  if (!tails.has(session.id)) return;
  // Where there will be no tail, nothing of the session waits to be published.
  const tail = await tails.pin(session).catch(() => null);
  if (tail === null) return;
  await tail.reached(head);
  tails.release(session.id);
}
