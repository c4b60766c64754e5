import type { Principal } from "../core/principal.ts";
import { GatewayError } from "../protocol/errors.ts";
import { SocketConnection } from "./connection.ts";
import { authenticate } from "./connection-handshake.ts";
import type { TransportContext } from "./context.ts";
import type { Turns } from "./turn.ts";
import type { UpgradeRequest } from "./ws-request.ts";
import { CHALLENGE_SUBPROTOCOL, readUpgrade, refusal } from "./ws-request.ts";

/** What is needed of a Bun server, however it was made. */
export interface SocketServer {
  upgrade(request: Request, options: { data: SocketConnection; headers?: Record<string, string> }): boolean;
  requestIP(request: Request): { readonly address: string } | null;
  publish(topic: string, text: string, compress?: boolean): number;
  subscriberCount(topic: string): number;
}

/** Undefined once the request is a socket, else the refusal. Waits only where a credential has to be checked. */
export type Upgrade = (
  request: Request,
  server: SocketServer,
) => Promise<Response | undefined> | Response | undefined;

/** How soon a refused connection may come again. */
const RETRY_MS = 2_000;

/** `sockets` are those that are open, read anew at every request. */
export function createUpgrade(
  context: TransportContext,
  sockets: Iterable<SocketConnection>,
  turns: Turns,
): Upgrade {
  function upgrade(
    request: Request,
    server: SocketServer,
  ): Promise<Response | undefined> | Response | undefined {
    const remote = context.doors.remoteOf(server.requestIP(request)?.address ?? "", request.headers);
    let asked: UpgradeRequest;
    try {
      checkDoors(context, request);
      checkRoom(context);
      asked = readUpgrade(context, request);
      if (asked.credential === null) checkStrangers(context, sockets, remote);
    } catch (error) {
      return refuse(error);
    }
    const { protocol, credential } = asked;
    if (credential === null) return open(request, server, protocol, remote, null);
    return authenticate(context, credential, remote).then((result) =>
      result.ok ? open(request, server, protocol, remote, result.principal) : refuse(result.error),
    );
  }

  function open(
    request: Request,
    server: SocketServer,
    protocol: UpgradeRequest["protocol"],
    remote: string,
    principal: Principal | null,
  ): Response | undefined {
    try {
      // Once more: others may have come while the credential was checked.
      checkRoom(context);
      const challenge = protocol === CHALLENGE_SUBPROTOCOL;
      const data = new SocketConnection(context, { remote, principal, challenge, turns });
      // Without the header Bun selects what the client offered first, a ticket included.
      const headers = protocol === null ? {} : { "sec-websocket-protocol": protocol };
      if (server.upgrade(request, { data, headers })) return undefined;
      throw new GatewayError("INVALID_REQUEST", "not a WebSocket handshake", {
        details: { kind: "upgrade" },
      });
    } catch (error) {
      return refuse(error);
    }
  }

  /** @throws what is not a refusal */
  function refuse(error: unknown): Response {
    if (!(error instanceof GatewayError)) throw error;
    context.count.error(error.reason);
    return refusal(error);
  }

  return upgrade;
}

/** @throws GatewayError FORBIDDEN (421 for a Host), UNAVAILABLE while draining */
function checkDoors(context: TransportContext, request: Request): void {
  const refused = context.doors.checkHost(request.headers.get("host")) ?? context.doors.checkOrigin(request);
  if (refused !== null) throw refused;
  if (context.status() === "draining") {
    throw new GatewayError("UNAVAILABLE", "the gateway is stopping: connect again later", {
      retry_after_ms: RETRY_MS,
    });
  }
}

/** @throws GatewayError UNAVAILABLE */
function checkRoom(context: TransportContext): void {
  if (context.connections.size >= context.limits.max_connections) throw full(context, "max_connections");
}

/** Sockets that have not authenticated are fewer, in all and from one address. @throws GatewayError UNAVAILABLE */
function checkStrangers(
  context: TransportContext,
  sockets: Iterable<SocketConnection>,
  remote: string,
): void {
  let all = 0;
  let here = 0;
  for (const socket of sockets) {
    if (socket.principal !== null) continue;
    all++;
    if (socket.remote === remote) here++;
  }
  if (all >= context.limits.max_unauthenticated) throw full(context, "max_unauthenticated");
  if (here >= context.limits.max_unauthenticated_per_address) {
    throw full(context, "max_unauthenticated_per_address");
  }
}

type ConnectionLimit = "max_connections" | "max_unauthenticated" | "max_unauthenticated_per_address";

function full(context: TransportContext, option: ConnectionLimit): GatewayError {
  context.count.limit(option);
  return new GatewayError(
    "UNAVAILABLE",
    `too many connections (${option} = ${context.limits[option]}): try again later`,
    {
      details: { kind: "connections", limit: context.limits[option], what: option },
      retry_after_ms: RETRY_MS,
    },
  );
}
