import type { Static } from "@sinclair/typebox";
import type { Connection } from "../core/connections.ts";
import type { SessionRef } from "../core/session.ts";
import { nameOf, namingsOf, topicOf } from "../core/session.ts";
import { eventBroadcast, eventSend } from "../protocol/api/event.ts";
import { encodeSignal } from "../protocol/frames.ts";
import type { Scope } from "../protocol/schema.ts";
import { validate } from "../protocol/schema.ts";
import { append } from "./append.ts";
import type { MethodDeps } from "./deps.ts";
import type { Call } from "./registry.ts";
import type { MethodHandler } from "./registry.ts";
import { handle } from "./registry.ts";
import { boundedJson } from "./text.ts";

type Broadcast = Static<typeof eventBroadcast.params>;
type Send = Static<typeof eventSend.params>;

export function eventMethods(deps: MethodDeps): MethodHandler[] {
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
  params: Broadcast,
  call: Call,
): Promise<{ delivered: number } | undefined> {
  const { connections, clock, directory } = deps;
  const signal = signalOf(deps, params);
  const { session_id } = params.filter ?? {};
  const session = session_id === undefined ? null : await directory.find(call.user, session_id, "read");
  const targets = [...connections.all()].filter((each) => passes(each, params.filter ?? {}, session));
  const deliver = (): { delivered: number } => ({ delivered: signalAll(deps, signal, targets) });
  if (call.keyed === null) return deliver();
  // With a key the effect follows the commit of the key: a repeated request is answered and sends nothing.
  append(call, deps.journal, clock.now(), {
    session: null,
    events: [],
    rows: [],
    remember: { delivered: targets.length },
    committed: deliver,
  });
  return undefined;
}

type Asked = Pick<Broadcast, "event"> & { readonly payload: Readonly<Record<string, unknown>> };
type Signalling = Pick<MethodDeps, "connections" | "clock" | "limits" | "observers">;
type Signal = Asked & { readonly ts: number; readonly text: string };

/**
 * A broadcast of the process itself: to those of whom `isFor` says so, which is asked of all that were let in before any is
 * sent it; what it throws is thrown. The number sent. @throws GatewayError INVALID_REQUEST, TOO_LARGE
 */
export function broadcastTo(
  deps: Signalling,
  asked: Asked,
  isFor: (connection: Connection) => boolean,
): number {
  validate(eventBroadcast.params, asked);
  const signal = signalOf(deps, asked);
  const known = [...deps.connections.all()].filter(({ principal }) => principal !== null);
  return signalAll(deps, signal, known.filter(isFor));
}

/** @throws GatewayError TOO_LARGE */
function signalOf({ clock, limits }: Signalling, { event, payload: said }: Asked): Signal {
  const payload = JSON.parse(boundedJson(said, "broadcast_bytes", limits)) as Record<string, unknown>;
  const ts = clock.now();
  return { event, payload, ts, text: encodeSignal(event, ts, payload) };
}

function signalAll(
  { connections, observers }: Signalling,
  { event, payload, ts, text }: Signal,
  targets: readonly Connection[],
): number {
  const ids = new Set(targets.map((each) => each.id));
  observers.tell(event, () => ({ type: event, ts, payload }));
  return connections.signal(text, event, null, (each) => ids.has(each.id));
}

function passes(
  connection: Connection,
  filter: NonNullable<Broadcast["filter"]>,
  session: SessionRef | null,
): boolean {
  if (filter.capability !== undefined && !connection.capabilities.includes(filter.capability)) return false;
  if (filter.user !== undefined && connection.principal?.user !== filter.user) return false;
  if (filter.client_id !== undefined && connection.client_id !== filter.client_id) return false;
  if (filter.platform !== undefined && connection.platform !== filter.platform) return false;
  if (filter.scope !== undefined && connection.principal?.scopes.has(filter.scope as Scope) !== true)
    return false;
  return session === null || connection.subscriptions.has(session.id);
}

async function sendTo(
  deps: MethodDeps,
  params: Send,
  call: Call,
): Promise<{ delivered: number } | undefined> {
  const { clock, limits, directory, journal } = deps;
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
  const delivered = followersOf(deps, session);
  const deliver = (): { delivered: number } => {
    signal(deps, session, params.event, payload);
    return { delivered };
  };
  if (call.keyed === null) return deliver();
  append(call, journal, now, {
    session: null,
    events: [],
    rows: [],
    remember: { delivered },
    committed: deliver,
  });
  return undefined;
}

function followersOf({ hub }: MethodDeps, session: SessionRef): number {
  return namingsOf(session).reduce((sum, naming) => sum + hub.followers(topicOf(session, naming)), 0);
}

/** A signal to everybody who follows the session, under the name they use for it. */
function signal(deps: MethodDeps, session: SessionRef, type: string, payload: string): void {
  const { hub, clock, observers } = deps;
  const now = clock.now();
  observers.tell(type, () => ({
    type,
    ts: now,
    session_id: session.id,
    user: session.owner,
    payload: JSON.parse(payload) as Record<string, unknown>,
  }));
  for (const naming of namingsOf(session)) {
    hub.publish(topicOf(session, naming), () => {
      const text = encodeSignal(type, now, JSON.parse(payload) as unknown, nameOf(session, naming));
      return { text, type, epoch: null, seq: null };
    });
  }
}
