import type { Credential } from "../core/principal.ts";
import { GatewayError } from "../protocol/errors.ts";
import type { TransportContext } from "./context.ts";
import { tooManyCredentials } from "./credential.ts";
import { refuseSecretsInUrl } from "./url-secret.ts";

export const SUBPROTOCOL = "agentbus.v1";
export const CHALLENGE_SUBPROTOCOL = "agentbus.v1.challenge";
const TICKET_PREFIX = "agentbus.ticket.";

/** What an upgrade request asks for. `protocol` is the one to select, null where none was offered. */
export interface UpgradeRequest {
  readonly protocol: typeof SUBPROTOCOL | typeof CHALLENGE_SUBPROTOCOL | null;
  readonly credential: Credential | null;
}

/** @throws GatewayError what the request is refused with */
export function readUpgrade(context: TransportContext, request: Request): UpgradeRequest {
  refuseSecretsInUrl(request.url, { ticket: false });
  refuseNoUpgrade(request.headers);
  const { protocol, ticket } = readSubprotocols(request.headers.get("sec-websocket-protocol"));
  const header = context.credential(request.headers.get("authorization"));
  if (header instanceof GatewayError) throw header;
  const shown = header !== null && header.kind !== "none";
  if (shown && ticket !== null) throw tooManyCredentials();
  if (shown) return { protocol, credential: header };
  if (ticket !== null) return { protocol, credential: { kind: "ticket", ticket } };
  return { protocol, credential: context.options.open ? { kind: "none" } : null };
}

/**
 * Bun upgrades a request that a proxy may take for an ordinary one, and drops its body. What two read differently is none.
 * @throws GatewayError
 */
function refuseNoUpgrade(headers: Headers): void {
  if (headers.has("transfer-encoding") || Number(headers.get("content-length") ?? 0) !== 0) {
    throw new GatewayError("INVALID_REQUEST", "an upgrade has no body", { details: { kind: "upgrade" } });
  }
  const options = (headers.get("connection") ?? "").toLowerCase().split(",");
  if (options.some((option) => option.trim() === "upgrade")) return;
  const message =
    "an upgrade has to ask for it: Connection: Upgrade is missing (a proxy in front has to pass it on)";
  throw new GatewayError("INVALID_REQUEST", message, { details: { kind: "upgrade" }, http: 426 });
}

function readSubprotocols(header: string | null): {
  protocol: UpgradeRequest["protocol"];
  ticket: string | null;
} {
  if (header === null || header.trim() === "") return { protocol: null, ticket: null };
  const offered = header.split(",").map((each) => each.trim());
  const tickets = offered.filter((each) => each.startsWith(TICKET_PREFIX));
  if (tickets.length > 1) throw tooManyCredentials();
  const protocol = offered.find((each) => each === SUBPROTOCOL || each === CHALLENGE_SUBPROTOCOL);
  if (protocol === undefined) {
    // A client that offers something has to be told one of them, and a ticket is never echoed.
    throw new GatewayError(
      "INVALID_REQUEST",
      `offer the subprotocol ${SUBPROTOCOL}, beside a ticket too, or none at all`,
      {
        details: { kind: "subprotocol" },
      },
    );
  }
  return {
    protocol,
    ticket: tickets[0]?.slice(TICKET_PREFIX.length) ?? null,
  };
}

/** The answer to an upgrade that is refused. */
export function refusal(error: GatewayError): Response {
  const headers: Record<string, string> = { "cache-control": "no-store" };
  if (error.retry_after_ms !== undefined)
    headers["retry-after"] = String(Math.ceil(error.retry_after_ms / 1000));
  if (error.http === 401) headers["www-authenticate"] = 'Bearer realm="agentbus"';
  return Response.json({ error: error.toBody() }, { status: error.http, headers });
}
