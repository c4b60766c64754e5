import { listScopes } from "../auth/scopes.ts";
import { broadcastTo } from "../method/event.ts";
import type { Reachable } from "../method/signals.ts";
import { reachable } from "../method/signals.ts";
import { eventBroadcast, eventSend } from "../protocol/api/event.ts";
import { clientDisconnect } from "../protocol/api/system.ts";
import type {
  BroadcastFilter,
  ConnectionInfo,
  OpenConnections,
  SendOptions,
  SentEvent,
} from "./connections.ts";
import type { Local } from "./local.ts";
import { speakingFor } from "./local.ts";

export function createConnections(local: Local): OpenConnections {
  return {
    list: () => [...local.engine.connections.all()].map((each) => infoOf(reachable(each))),
    async disconnect(connectionId, reason) {
      const params = { connection_id: connectionId, ...(reason !== undefined && { reason }) };
      return (await local.call(clientDisconnect, params)).disconnected;
    },
  };
}

/** Resolves with how many were sent it. */
export async function broadcast(
  local: Local,
  event: string,
  payload: Readonly<Record<string, unknown>>,
  filter: BroadcastFilter = {},
): Promise<number> {
  if (typeof filter !== "function") {
    return (await local.call(eventBroadcast, { event, payload: { ...payload }, filter })).delivered;
  }
  local.requireRunning();
  return broadcastTo(local.engine, { event, payload }, (connection) => filter(infoOf(connection)));
}

export async function sendTo(
  local: Local,
  sessionId: string,
  event: string,
  payload: Readonly<Record<string, unknown>>,
  { userId, durable = false }: SendOptions = {},
): Promise<SentEvent> {
  const by = speakingFor(await local.userOf(sessionId, userId));
  return local.call(eventSend, { session_id: sessionId, event, payload: { ...payload }, durable }, by);
}

/** How many different clients are behind the connections that were let in. */
export function clientsOf(local: Local): number {
  const known = [...local.engine.connections.all()].filter(({ principal }) => principal !== null);
  return new Set(known.map(({ client_id, id }) => (client_id === "" ? id : client_id))).size;
}

function infoOf({ scopes, ...info }: Reachable): ConnectionInfo {
  return { ...info, scopes: listScopes(new Set(scopes)) };
}
