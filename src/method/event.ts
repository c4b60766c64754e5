import type { Static } from "@sinclair/typebox";
import type { Connection } from "../core/connections.ts";
import type { SessionRef } from "../core/session.ts";
import { nameOf, namingsOf, topicOf } from "../core/session.ts";
import { eventBroadcast, eventSend } from "../protocol/api/event.ts";
import { encodeSignal } from "../protocol/frames.ts";
import type { Scope } from "../protocol/schema.ts";
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
  const { connections, clock, limits, directory, observers } = deps;
  const payload = JSON.parse(boundedJson(params.payload, "broadcast_bytes", limits)) as Record<
    string,
    unknown
  >;
  const { session_id } = params.filter ?? {};
  const session = session_id === undefined ? null : await directory.find(call.user, session_id, "read");
  const text = encodeSignal(params.event, clock.now(), payload);
  const targets = [...connections.all()].filter((each) => passes(each, params.filter ?? {}, session));
  const deliver = (): { delivered: number } => {
    const ids = new Set(targets.map((each) => each.id));
    observers.tell(params.event, () => ({ type: params.event, ts: clock.now(), payload }));
    return { delivered: connections.signal(text, params.event, null, (each) => ids.has(each.id)) };
  };
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
