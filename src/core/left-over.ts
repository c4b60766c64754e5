import type { Approval, EventMessage, EventRun, Usage } from "../protocol/entities.ts";
import type { SessionRef } from "./session.ts";
import type { Store } from "./store.ts";
import type { Tail } from "./tail.ts";
import { addUsage } from "./usage.ts";

/** What a run that ends leaves unfinished, as the log has it. */
export interface LeftOver {
  /** Messages being written, oldest first. */
  readonly open: readonly EventMessage[];
  /** Ids of calls without a result. */
  readonly unanswered: readonly string[];
  readonly approvals: readonly Approval[];
  /** Of the calls whose messages are complete. */
  readonly run_usage: Usage | undefined;
}

/** Read from the log, where what the run had in memory is gone or not to be trusted. `tail` is pinned by the caller. */
export async function leftOf(
  { run_id }: EventRun,
  session: SessionRef,
  tail: Tail,
  store: Store,
): Promise<LeftOver> {
  const rows = await store.runMessages(session.id, run_id);
  const messages = rows.map(({ data }) => JSON.parse(data) as EventMessage);
  const open = [...tail.open.values()].map(({ message }) => message);
  const approvals = [...tail.approvals.values()];
  return {
    open: open.filter((message) => message.run_id === run_id),
    unanswered: unansweredIn(messages),
    approvals: approvals.filter((approval) => approval.run_id === run_id),
    run_usage: messages.map(({ usage }) => usage).reduce(addUsage, undefined),
  };
}

/** Calls that have no result, in the order they were made. */
function unansweredIn(messages: readonly EventMessage[]): string[] {
  const parts = messages.flatMap((message) => message.parts ?? []);
  const answered = new Set(parts.flatMap((part) => (part.type === "tool_result" ? [part.tool_call_id] : [])));
  const called = parts.flatMap((part) => (part.type === "tool_call" ? [part.tool_call_id] : []));
  return called.filter((id) => !answered.has(id));
}
