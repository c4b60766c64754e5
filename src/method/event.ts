import type { Static } from "@sinclair/typebox";
import { eventBroadcast, eventSend } from "../protocol/api/event.ts";
import { validate } from "../protocol/schema.ts";
import { append } from "./append.ts";
import type { MethodDeps } from "./deps.ts";
import type { Call } from "./registry.ts";
import type { MethodHandler } from "./registry.ts";
import { handle } from "./registry.ts";
import type { Broadcast, Reachable, Send, Signal, Spreading } from "./signals.ts";
import * as signals from "./signals.ts";
import { boundedJson } from "./text.ts";

type BroadcastParams = Static<typeof eventBroadcast.params>;
type SendParams = Static<typeof eventSend.params>;

export function eventMethods(deps: MethodDeps): MethodHandler[] {
  signals.signalsFromOthers(deps);
  return [
    handle(eventBroadcast, async (params, call) => broadcast(deps, params, call)),
    handle(
      eventSend,
      async (params, call) => sendTo(deps, params, call),
      (prior) => ({ ...(JSON.parse(prior.answer) as object), ...(prior.seq > 0 && { seq: prior.seq }) }),
    ),
  ];
}

async function broadcast(
  deps: MethodDeps,
  params: BroadcastParams,
  call: Call,
): Promise<{ delivered: number } | undefined> {
  const { filter = {} } = params;
  const signal = signalOf(deps, params);
  const { session_id } = filter;
  const session = session_id === undefined ? null : await deps.directory.find(call.user, session_id, "read");
  const said: Broadcast = { signal, filter, session };
  const deliver = (): number => {
    observed(deps, signal);
    return signals.toFiltered(deps, said);
  };
  if (call.keyed === null) return { delivered: await signals.spread(deps, "broadcast", said, deliver()) };
  const delivered = await signals.countAll(deps, "broadcast", said, signals.filtered(deps, said).length);
  return once(deps, call, delivered, () => {
    deliver();
    deps.nodes.tell("broadcast", said);
  });
}

/** With a key the effect follows the commit of the key: a repeated request is answered and sends nothing. */
function once({ journal, clock }: MethodDeps, call: Call, delivered: number, deliver: () => void): undefined {
  append(call, journal, clock.now(), {
    session: null,
    events: [],
    rows: [],
    remember: { delivered },
    committed: () => {
      deliver();
      return { delivered };
    },
  });
  return undefined;
}

type Asked = Pick<BroadcastParams, "event"> & { readonly payload: Readonly<Record<string, unknown>> };
type Signalling = Spreading & Pick<MethodDeps, "clock" | "limits" | "observers">;

/**
 * A broadcast of the process itself: to those of whom `isFor` says so, at whichever node, which is asked of all that were let
 * in before any is sent it; what it throws is thrown. The number sent. @throws GatewayError INVALID_REQUEST, TOO_LARGE
 */
export async function broadcastTo(
  deps: Signalling,
  asked: Asked,
  isFor: (connection: Reachable) => boolean,
): Promise<number> {
  validate(eventBroadcast.params, asked);
  const { connections, nodes } = deps;
  const signal = signalOf(deps, asked);
  const chosen = (all: readonly Reachable[]): string[] =>
    all.filter(isFor).map(({ connection_id }) => connection_id);
  const ids = new Set(chosen(signals.letIn(connections).map(signals.reachable)));
  const { answers } = await nodes.ask<Reachable[]>("reachable", null);
  const others = answers.flatMap(({ body }) => chosen(body));
  observed(deps, signal);
  if (others.length > 0) nodes.tell("signal", { signal, ids: others });
  return signals.toConnections(connections, signal, ids) + others.length;
}

/** @throws GatewayError TOO_LARGE */
function signalOf(
  { clock, limits }: Pick<Signalling, "clock" | "limits">,
  { event, payload }: Asked,
): Signal {
  const bounded = JSON.parse(boundedJson(payload, "broadcast_bytes", limits)) as Signal["payload"];
  return { event, payload: bounded, ts: clock.now() };
}

/** Code in this process hears of it, and that of no other node. */
function observed({ observers }: Pick<Signalling, "observers">, { event: type, ts, payload }: Signal): void {
  observers.tell(type, () => ({ type, ts, payload }));
}

async function sendTo(
  deps: MethodDeps,
  params: SendParams,
  call: Call,
): Promise<{ delivered: number } | undefined> {
  const { clock, limits, directory, journal, observers } = deps;
  const payload = boundedJson(params.payload, "broadcast_bytes", limits);
  const session = await directory.find(call.user, params.session_id, "write");
  const now = clock.now();
  if (params.durable === true) {
    append(call, journal, now, {
      session,
      events: [{ type: params.event, ts: now, run_id: null, payload }],
      rows: [],
      remember: {},
      committed: ({ first_seq }) => ({ seq: first_seq }),
    });
    return undefined;
  }
  const signal: Signal = { event: params.event, payload: JSON.parse(payload) as Signal["payload"], ts: now };
  const said: Send = { signal, session };
  const deliver = (): number => {
    const { event: type, ts } = signal;
    const whose = { session_id: session.id, user: session.owner };
    observers.tell(type, () => ({ type, ts, ...whose, payload: signal.payload }));
    return signals.toFollowers(deps, said);
  };
  if (call.keyed === null) return { delivered: await signals.spread(deps, "send", said, deliver()) };
  const delivered = await signals.countAll(deps, "send", said, signals.followersOf(deps, said));
  return once(deps, call, delivered, () => {
    deliver();
    deps.nodes.tell("send", said);
  });
}
