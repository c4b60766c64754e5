import { IMPORTED } from "./importing.ts";
import { DEAD, DEAD_BODY, OWED } from "./owed.ts";
import type { Approval } from "../protocol/entities.ts";
import { toolMessage } from "./message.ts";
import type { NewEvent, RowChange } from "./operation.ts";
import type { ToolOutcome } from "./ports.ts";

/** Approvals as they are stored, one record each, owned by their session. */
export const APPROVALS = "approval";
/** Tools that were allowed for a session, one record each, owned by it. */
export const GRANTS = "tool_grant";
/** Collections whose records go with the session that owns them. */
export const SESSION_RECORDS: readonly string[] = [APPROVALS, GRANTS, IMPORTED, OWED, DEAD, DEAD_BODY];
/** How long the answer to an approval is known. */
const ANSWERED_MS = 30 * 86_400_000;

/** Events, and the rows that go with them, of one operation. */
export interface Written {
  readonly events: NewEvent[];
  readonly rows: RowChange[];
}

/** When and for which run. */
export interface Moment {
  readonly ts: number;
  readonly run_id: string;
}

/** A tool's answer: a message of role tool. */
export function addToolResult(
  to: Written,
  { ts, run_id }: Moment,
  result: { readonly message_id: string; readonly tool_call_id: string } & ToolOutcome,
): void {
  const { message_id, tool_call_id, ok, content, truncated } = result;
  const payload = {
    message_id,
    tool_call_id,
    ok,
    content,
    ...(truncated !== undefined && { truncated }),
  };
  to.events.push({ type: "tool.result", ts, run_id, payload: JSON.stringify(payload) });
  to.rows.push({
    kind: "message.put",
    event: to.events.length - 1,
    message_id,
    role: "tool",
    status: "complete",
    run_id,
    data: JSON.stringify(toolMessage(payload, { ts, run_id })),
  });
}

/** A call waits for an answer. `session`: the gateway's id. */
export function addApproval(to: Written, { ts, run_id }: Moment, session: string, approval: Approval): void {
  const payload = `{"approval":${JSON.stringify(approval)}}`;
  to.events.push({ type: "tool.approval_requested", ts, run_id, payload });
  to.rows.push({ kind: "record.put", record: recordOf(session, approval, null) });
}

/** The answer to an approval, with its decision. */
export function addDecision(to: Written, { ts, run_id }: Moment, session: string, decided: Approval): void {
  const { approval_id, decision, by } = decided;
  const payload = { approval_id, decision, ...(by !== undefined && { by }) };
  to.events.push({ type: "tool.approval_resolved", ts, run_id, payload: JSON.stringify(payload) });
  to.rows.push({ kind: "record.put", record: recordOf(session, decided, ts + ANSWERED_MS) });
}

function recordOf(session: string, approval: Approval, expires_at: number | null) {
  return {
    collection: APPROVALS,
    id: approval.approval_id,
    owner: session,
    data: JSON.stringify(approval),
    expires_at,
  };
}
