import { payloadOf } from "../core/call.ts";
import { noSession } from "../core/session.ts";
import type { MethodHandler } from "./registry.ts";
import type { OpenCall } from "./open-call.ts";
import type { Relay } from "./relay.ts";

/** Carries a request out `here`, or has it carried out by the node that has its session. Never rejects. */
export async function route(
  relay: Relay,
  handler: MethodHandler,
  params: unknown,
  call: OpenCall,
  here: () => void,
): Promise<void> {
  const { definition } = handler;
  try {
    const session = await relay.elsewhere(definition, params, call);
    if (session !== null) return await hand(relay, handler, params, call);
    // Another node may take it before anything is written here.
    call.onElsewhere = () => void hand(relay, handler, params, call);
    return here();
  } catch (error) {
    return call.fail(error);
  }
}

async function hand(relay: Relay, handler: MethodHandler, params: unknown, call: OpenCall): Promise<void> {
  try {
    const session = await relay.sessionOf(params, call.user);
    if (session === null) return call.fail(noSession());
    call.requireLive();
    const outcome = await relay.ask(session, handler.definition, params, call);
    // Whoever carried it out has put it into the audit trail.
    call.audited = null;
    if (!outcome.ok) return call.fail(outcome.error);
    const payload = payloadOf(outcome);
    if (handler.relayed === undefined) return call.ok(payload);
    await handler.relayed(payload, params as never, call);
  } catch (error) {
    call.fail(error);
  }
  return undefined;
}
