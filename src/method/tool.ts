import type { Static } from "@sinclair/typebox";
import type { NewEvent, RowChange } from "../core/operation.ts";
import type { SessionRef } from "../core/session.ts";
import { addDecision, APPROVALS } from "../core/tool-events.ts";
import { toolApprove, toolList } from "../protocol/api/tool.ts";
import type { Approval } from "../protocol/entities.ts";
import { GatewayError } from "../protocol/errors.ts";
import { append } from "./append.ts";
import type { MethodDeps } from "./deps.ts";
import type { Call, MethodHandler } from "./registry.ts";
import { handle } from "./registry.ts";
import { priorSession } from "./send.ts";

type Approve = Static<typeof toolApprove.params>;

export function toolMethods(deps: MethodDeps): MethodHandler[] {
  return [
    handle(toolList, () => {
      const { tools, servers } = deps.toolbox.list();
      return {
        tools: tools.map(({ parameters, ...tool }) => ({ ...tool, parameters: { ...parameters } })),
        servers: [...servers],
      };
    }),
    handle(
      toolApprove,
      (params, call) => approve(deps, params, call),
      async (prior, _params, call) => {
        await priorSession(deps, prior, call.user);
        return JSON.parse(prior.answer) as { approval: Approval };
      },
    ),
  ];
}

async function approve(deps: MethodDeps, params: Approve, call: Call): Promise<undefined> {
  const { directory, approvals, grants, journal, clock } = deps;
  const session = await directory.find(call.user, params.session_id, "write");
  call.audited?.concerns(session.id);
  call.audited?.concerns(session.id);
  const waiting = approvals.get(params.approval_id);
  if (waiting?.session !== session.id) throw await whyNot(deps, session, params.approval_id);
  directory.require(session, call.user, "write");
  if (!waiting.claim()) throw answered(waiting.approval);
  const { decision, remember } = params;
  const now = clock.now();
  const approval: Approval = { ...waiting.approval, decision, by: call.user };
  const events: NewEvent[] = [];
  const rows: RowChange[] = [];
  addDecision({ events, rows }, { ts: now, run_id: approval.run_id }, session.id, approval);
  const lasts = remember === "session" && decision === "allow";
  if (lasts) rows.push(grants.row(session, approval.name, call.user));
  append(call, journal, now, {
    session,
    events,
    rows,
    remember: { approval },
    committed: () => {
      if (lasts) grants.added(session, approval.name);
      waiting.decide(decision, call.user);
      return { approval };
    },
    undo: () => waiting.unclaim(),
  });
  return undefined;
}

/** Nothing waits under this id: it was answered before, or there never was anything. */
async function whyNot(
  { store }: MethodDeps,
  session: SessionRef,
  approval_id: string,
): Promise<GatewayError> {
  const row = await store.record(APPROVALS, approval_id);
  if (row?.owner === session.id) return answered(JSON.parse(row.data) as Approval);
  return new GatewayError("NOT_FOUND", "no such approval", { details: { kind: "approval" } });
}

function answered({ decision, by }: Approval): GatewayError {
  const who = by === undefined ? "" : ` by ${by}`;
  const what = decision === undefined ? "is being answered" : `was answered${who}: ${decision}`;
  return new GatewayError("CONFLICT", `this approval ${what}`, {
    details: { kind: "state", ...(decision !== undefined && { decision }) },
  });
}
