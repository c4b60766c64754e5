import type { Connection, Connections } from "../core/connections.ts";
import type { Hub } from "../core/hub.ts";
import type { SessionRef } from "../core/session.ts";
import { nameOf, namingsOf, topicOf } from "../core/session.ts";
import type { eventBroadcast } from "../protocol/api/event.ts";
import { encodeSignal } from "../protocol/frames.ts";
import type { ParamsOf } from "../protocol/methods.ts";
import type { Scope } from "../protocol/schema.ts";
import { clientView } from "./client.ts";
import type { MethodDeps } from "./deps.ts";

export interface Signal {
  readonly event: string;
  readonly payload: Readonly<Record<string, unknown>>;
  readonly ts: number;
}

/** A signal, and to whom it goes at every node. */
export interface Broadcast {
  readonly signal: Signal;
  readonly filter: NonNullable<ParamsOf<typeof eventBroadcast>["filter"]>;
  /** That of the filter. */
  readonly session: SessionRef | null;
}
/** A signal to who follows a session. */
export interface Send {
  readonly signal: Signal;
  readonly session: SessionRef;
}

type Here = Pick<MethodDeps, "connections" | "hub">;
export type Spreading = Here & Pick<MethodDeps, "nodes">;

/** A connection as a filter of the process itself sees it. */
export type Reachable = ReturnType<typeof reachable>;

/** Has this node do its part of what is signalled at another one. */
export function signalsFromOthers({ connections, hub, nodes }: Spreading): void {
  nodes.on<Broadcast>("broadcast", (body) => toFiltered({ connections }, body));
  nodes.on<Broadcast>("broadcast.count", (body) => filtered({ connections }, body).length);
  nodes.on<Send>("send", (body) => toFollowers({ hub }, body));
  nodes.on<Send>("send.count", (body) => followersOf({ hub }, body));
  nodes.on<{ signal: Signal; ids: string[] }>("signal", ({ signal, ids }) =>
    toConnections(connections, signal, new Set(ids)),
  );
  nodes.on("reachable", () => letIn(connections).map(reachable));
}

/** Sends it at every node. Resolves with how many were sent it, as far as the others say so within a second. */
export async function spread<K extends "broadcast" | "send">(
  { nodes }: Pick<Spreading, "nodes">,
  kind: K,
  body: K extends "send" ? Send : Broadcast,
  here: number,
): Promise<number> {
  const { answers } = await nodes.ask<number>(kind, body);
  return answers.reduce((sum, each) => sum + each.body, here);
}

/** How many it would be sent to, now. */
export function countAll<K extends "broadcast" | "send">(
  nodes: Pick<Spreading, "nodes">,
  kind: K,
  body: K extends "send" ? Send : Broadcast,
  here: number,
): Promise<number> {
  return spread(nodes, `${kind}.count` as K, body, here);
}

/** The number sent here. */
export function toFiltered(here: Pick<Here, "connections">, body: Broadcast): number {
  return toConnections(here.connections, body.signal, new Set(filtered(here, body).map(({ id }) => id)));
}

export function filtered({ connections }: Pick<Here, "connections">, body: Broadcast): Connection[] {
  return [...connections.all()].filter((each) => passes(each, body));
}

function passes(connection: Connection, { filter, session }: Broadcast): boolean {
  if (filter.capability !== undefined && !connection.capabilities.includes(filter.capability)) return false;
  if (filter.user !== undefined && connection.principal?.user !== filter.user) return false;
  if (filter.client_id !== undefined && connection.client_id !== filter.client_id) return false;
  if (filter.platform !== undefined && connection.platform !== filter.platform) return false;
  if (filter.scope !== undefined && connection.principal?.scopes.has(filter.scope as Scope) !== true)
    return false;
  return session === null || connection.subscriptions.has(session.id);
}

/** The number sent. */
export function toConnections(
  connections: Connections,
  { event, ts, payload }: Signal,
  ids: ReadonlySet<string>,
): number {
  return connections.signal(encodeSignal(event, ts, payload), event, null, ({ id }) => ids.has(id));
}

export function letIn(connections: Connections): Connection[] {
  return [...connections.all()].filter(({ principal }) => principal !== null);
}

/** A connection as `client.list` tells it, with what it may do and follows. */
export function reachable(connection: Connection) {
  const { principal, subscriptions } = connection;
  return {
    ...clientView(connection),
    scopes: [...(principal?.scopes ?? [])],
    sessions: [...subscriptions.keys()],
  };
}

export function followersOf({ hub }: Pick<Here, "hub">, { session }: Pick<Send, "session">): number {
  return namingsOf(session).reduce((sum, naming) => sum + hub.followers(topicOf(session, naming)), 0);
}

/** To everybody here who follows the session, under the name they use for it; how many they are. */
export function toFollowers({ hub }: { readonly hub: Hub }, { signal, session }: Send): number {
  const { event: type, ts, payload } = signal;
  const count = followersOf({ hub }, { session });
  for (const naming of namingsOf(session)) {
    hub.publish(topicOf(session, naming), () => {
      const text = encodeSignal(type, ts, payload, nameOf(session, naming));
      return { text, type, epoch: null, seq: null };
    });
  }
  return count;
}
