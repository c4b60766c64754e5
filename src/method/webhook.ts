import type { Outbound } from "../core/automation.ts";
import {
  webhookCreate,
  webhookDelete,
  webhookDeliveries,
  webhookList,
  webhookRedeliver,
  webhookRotate,
  webhookTest,
  webhookUpdate,
} from "../protocol/api/webhook.ts";
import { notDeleted, whose } from "./hook.ts";
import type { MethodHandler } from "./registry.ts";
import { handle } from "./registry.ts";
import type { SettleDeps } from "./token.ts";
import { settle } from "./token.ts";

export interface WebhookDeps extends SettleDeps {
  readonly outbound: Outbound;
}

/** What is delivered to others. */
export function webhookMethods(deps: WebhookDeps): MethodHandler[] {
  const { outbound } = deps;
  return [
    handle(webhookCreate, (params, call) => {
      return settle(deps, call, outbound.create(call.caller.principal, params), (issued) => issued);
    }),
    handle(webhookList, async (_params, call) => ({
      webhooks: await outbound.list(whose(call.caller.principal)),
    })),
    handle(webhookUpdate, async (params, call) => {
      const change = await outbound.update(call.caller.principal, params);
      return settle(deps, call, change, (changed) => changed);
    }),
    handle(webhookRotate, async (params, call) => {
      const change = await outbound.rotate(call.caller.principal, params);
      return settle(deps, call, change, (issued) => issued);
    }),
    handle(webhookDelete, ({ webhook_id }, call) => {
      const change = outbound.remove(call.caller.principal, webhook_id);
      if (change === null) return notDeleted(call);
      return settle(deps, call, change, () => ({ deleted: true }));
    }),
    handle(webhookTest, ({ webhook_id }, call) => outbound.test(call.caller.principal, webhook_id)),
    handle(webhookDeliveries, ({ webhook_id }, call) => {
      return outbound.deliveries(call.caller.principal, webhook_id);
    }),
    handle(webhookRedeliver, ({ webhook_id, delivery_ids }, call) => {
      return outbound.redeliver(call.caller.principal, webhook_id, delivery_ids);
    }),
  ];
}
