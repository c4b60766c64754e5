import type { Credential, Principal } from "../core/principal.ts";
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
  requestIP(request: Request): { readonly address: string; readonly port: number } | null;
  publish(topic: string, text: string, compress?: boolean): number;
  subscriberCount(topic: string): number;
}

/** What is known of who asks for an upgrade. */
interface Who {
  readonly protocol: UpgradeRequest["protocol"];
  readonly remote: string;
  readonly unshown: Credential;
}

/** Undefined once the request is a socket, else the refusal. Waits only where a credential has to be checked. */
export type Upgrade = (
  request: Request,
  server: SocketServer,
) => Promise<Response | undefined> | Response | undefined;

/** How soon a refused connection may come again. */
const RETRY_MS = 2_000;

export function createUpgrade(context: TransportContext, turns: Turns): Upgrade {
  const { connections } = context;

  function upgrade(
    request: Request,
    server: SocketServer,
  ): Promise<Response | undefined> | Response | undefined {
    const address = server.requestIP(request);
    const remote = context.doors.remoteOf(address?.address ?? "", request.headers);
    let asked: UpgradeRequest;
    try {
      checkDoors(context, request);
      refuseFull(connections.full());
      asked = readUpgrade(context, request);
    } catch (error) {
      return refuse(error, remote);
    }
    const { protocol, credential } = asked;
    const peer = context.options.tailnet ? context.doors.tailnetOf(address, request.headers) : null;
    const unshown: Credential = { kind: "none", ...(peer !== null && { peer }) };
    const who = { protocol, remote, unshown };
    if (credential === null && peer === null) return open(request, server, who, null);
    return authenticate(context, credential ?? unshown, remote).then((result) => {
      if (result.ok) return open(request, server, who, result.principal);
      // Who showed nothing may still do so in connect.
      return credential === null ? open(request, server, who, null) : refuse(result.error, remote);
    });
  }

  function open(
    request: Request,
    server: SocketServer,
    { protocol, remote, unshown }: Who,
    principal: Principal | null,
  ): Response | undefined {
    try {
      // Once more: others may have come while the credential was checked. From here to the socket nothing is waited for.
      refuseFull(
        connections.full() ??
          (principal === null ? connections.fullForStranger(remote) : connections.fullFor(principal)),
      );
      const asks = context.options.challenge || protocol === CHALLENGE_SUBPROTOCOL;
      const challenge = asks ? context.challenger.forSocket() : null;
      const origin = request.headers.get("origin") ?? "";
      const data = new SocketConnection(context, { remote, origin, unshown, principal, challenge, turns });
      // Without the header Bun selects what the client offered first, a ticket included.
      const headers = protocol === null ? {} : { "sec-websocket-protocol": protocol };
      if (server.upgrade(request, { data, headers })) return undefined;
      throw new GatewayError("INVALID_REQUEST", "not a WebSocket handshake", {
        details: { kind: "upgrade" },
      });
    } catch (error) {
      return refuse(error, remote);
    }
  }

  /** @throws what is not a refusal */
  function refuse(error: unknown, remote: string): Response {
    if (!(error instanceof GatewayError)) throw error;
    context.count.error(error, { remote });
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
function refuseFull(full: GatewayError | null): void {
  if (full !== null) throw full;
}
