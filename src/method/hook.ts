import type { InboundHooks } from "../core/automation.ts";
import { isGatewaySessionId } from "../core/id.ts";
import type { Principal } from "../core/principal.ts";
import type { Directory } from "../core/session.ts";
import { hookCreate, hookDelete, hookList, hookRotate, hookUpdate } from "../protocol/api/hook.ts";
import type { MethodHandler } from "./registry.ts";
import { handle } from "./registry.ts";
import type { SettleDeps } from "./token.ts";
import { settle } from "./token.ts";

export interface HookDeps extends SettleDeps {
  readonly inbound: InboundHooks;
  readonly directory: Directory;
}

/** Where what others deliver becomes messages. */
export function hookMethods(deps: HookDeps): MethodHandler[] {
  const { inbound } = deps;
  return [
    handle(hookCreate, async (params, call) => {
      const { principal } = call.caller;
      await requireSession(deps, principal.user, params.session_id);
      return settle(deps, call, inbound.create(principal, params), (issued) => issued);
    }),
    handle(hookList, (_params, call) => ({ hooks: inbound.list(whose(call.caller.principal)) })),
    handle(hookUpdate, async (params, call) => {
      const { principal } = call.caller;
      await requireSession(deps, principal.user, params.session_id);
      return settle(deps, call, inbound.update(principal, params), (hook) => hook);
    }),
    handle(hookRotate, (params, call) => {
      return settle(deps, call, inbound.rotate(call.caller.principal, params), (issued) => issued);
    }),
    handle(hookDelete, ({ hook_id }, call) => {
      const change = inbound.remove(call.caller.principal, hook_id);
      if (change === null) return notDeleted(call);
      return settle(deps, call, change, () => ({ deleted: true }));
    }),
  ];
}

/** Answers where there is nothing to delete. */
export function notDeleted(call: { audited: { idle(): void } | null }): { readonly deleted: false } {
  call.audited?.idle();
  return { deleted: false };
}

/** Whose are listed; null: everybody's. */
export function whose({ user, scopes }: Principal): string | null {
  return scopes.has("admin") ? null : user;
}

/** A session that is named by an id of the gateway's has to be there, any other is made when it is needed. @throws GatewayError */
export async function requireSession(
  { directory }: Pick<HookDeps, "directory">,
  user: string,
  id: string | undefined,
): Promise<void> {
  if (id !== undefined && isGatewaySessionId(id)) await directory.find(user, id, "write");
}
