import type { Schedules } from "../core/automation.ts";
import { payloadOf } from "../core/call.ts";
import type { Limits } from "../core/limits.ts";
import type { chatSend } from "../protocol/api/chat.ts";
import {
  scheduleCreate,
  scheduleDelete,
  scheduleList,
  scheduleRun,
  scheduleUpdate,
} from "../protocol/api/schedule.ts";
import type { ResultOf } from "../protocol/methods.ts";
import type { HookDeps } from "./hook.ts";
import { notDeleted, requireSession, whose } from "./hook.ts";
import type { MethodHandler } from "./registry.ts";
import { handle } from "./registry.ts";
import { bounded } from "./text.ts";
import { settle } from "./token.ts";

export interface ScheduleDeps extends Omit<HookDeps, "inbound"> {
  readonly schedules: Schedules;
  readonly limits: Limits;
}

/** What is said by itself. */
export function scheduleMethods(deps: ScheduleDeps): MethodHandler[] {
  const { schedules, limits } = deps;
  return [
    handle(scheduleCreate, async (params, call) => {
      const { principal } = call.caller;
      const message = bounded(params.message, "message_bytes", limits);
      await requireSession(deps, principal.user, params.session_id);
      return settle(deps, call, schedules.create(principal, { ...params, message }), (made) => made);
    }),
    handle(scheduleList, (_params, call) => ({ schedules: schedules.list(whose(call.caller.principal)) })),
    handle(scheduleUpdate, async (params, call) => {
      const { principal } = call.caller;
      if (params.message !== undefined) bounded(params.message, "message_bytes", limits);
      await requireSession(deps, principal.user, params.session_id);
      return settle(deps, call, schedules.update(principal, params), (changed) => changed);
    }),
    handle(scheduleDelete, ({ schedule_id }, call) => {
      const change = schedules.remove(call.caller.principal, schedule_id);
      if (change === null) return notDeleted(call);
      return settle(deps, call, change, () => ({ deleted: true }));
    }),
    handle(scheduleRun, async ({ schedule_id }, call) => {
      const outcome = await schedules.run(call.caller.principal, schedule_id);
      if (!outcome.ok) throw outcome.error;
      const { session_id, message_id, run_id, status } = payloadOf(outcome) as ResultOf<typeof chatSend>;
      return { session_id, message_id, run_id, status };
    }),
  ];
}
