import type { Caller } from "../core/call.ts";
import type { Credential, Principal } from "../core/principal.ts";
import { GatewayError } from "../protocol/errors.ts";
import type { TransportContext } from "./context.ts";
import { tooManyCredentials } from "./credential.ts";
import type { HttpRoute, Visit } from "./rest-reply.ts";
import { refuseSecretsInUrl } from "./url-secret.ts";

const READING = new Set(["GET", "HEAD", "OPTIONS"]);
const CLIENT_ID_CHARS = 128;

/** Every request, known path or not, before anything else is looked at. @throws GatewayError */
export function guardRequest(context: TransportContext, request: Request): void {
  const refused = context.doors.checkHost(request.headers.get("host"));
  if (refused !== null) throw refused;
  refuseSecretsInUrl(request.url, { ticket: true });
  // A preflight says itself where it comes from and does nothing.
  if (request.method === "OPTIONS") return;
  if (!READING.has(request.method) || request.headers.has("upgrade")) guardOrigin(context, request);
}

/** What only the route knows. @throws GatewayError */
export function guardRoute(context: TransportContext, route: HttpRoute, visit: Visit): void {
  const { request } = visit;
  if (route.streams === true && request.method === "HEAD") {
    throw new GatewayError("INVALID_REQUEST", "a stream has no HEAD: ask with GET", { http: 405 });
  }
  if (route.streams === true) guardOrigin(context, request);
  else refuseSecretsInUrl(request.url, { ticket: false });
}

function guardOrigin(context: TransportContext, request: Request): void {
  const refused = context.doors.checkOrigin(request);
  if (refused !== null) throw refused;
}

/**
 * Who is calling, by the Authorization header, or by the ticket of a stream's URL.
 * @throws GatewayError UNAUTHORIZED, and what the authenticator says
 */
export async function authenticate(
  context: TransportContext,
  visit: Visit,
  transport: "rest" | "sse",
): Promise<Principal> {
  const credential = credentialOf(context, visit);
  return admit(context, credential, transport, visit);
}

/** Lets a credential in, or throws why not. */
export async function admit(
  context: TransportContext,
  credential: Credential,
  transport: "rest" | "sse",
  { remote, request }: Visit,
): Promise<Principal> {
  const client_id = (request.headers.get("x-client-id") ?? "").slice(0, CLIENT_ID_CHARS);
  const result = await context.authenticator.authenticate(credential, { transport, remote, client_id });
  if (!result.ok) throw result.error;
  return result.principal;
}

function credentialOf(context: TransportContext, visit: Visit): Credential {
  const named = headerCredential(context, visit);
  const ticket = visit.url.searchParams.get("ticket");
  if (named !== null && ticket !== null) throw tooManyCredentials();
  if (ticket !== null) return { kind: "ticket", ticket };
  return named ?? nobody(context, visit);
}

/** The credential of the Authorization header; null: there is none. @throws GatewayError */
export function headerCredential(context: TransportContext, visit: Visit): Credential | null {
  const found = context.credential(visit.request.headers.get("authorization"));
  if (found instanceof GatewayError) throw found;
  return found;
}

/** Where no credential came. @throws GatewayError UNAUTHORIZED unless the gateway may let somebody in by their address */
export function nobody(context: TransportContext, { request, server }: Visit): Credential {
  if (context.options.open) return { kind: "none" };
  const peer = context.options.tailnet
    ? context.doors.tailnetOf(server.requestIP(request), request.headers)
    : null;
  if (peer !== null) {
    // It would come in whatever page made the browser ask, so a read counts like a change.
    guardOrigin(context, request);
    return { kind: "none", peer };
  }
  throw new GatewayError(
    "UNAUTHORIZED",
    "who is calling? Send Authorization: Bearer TOKEN (see agentbus token create)",
  );
}

/** The caller of a method over HTTP: nothing can be subscribed for it. */
export function callerOf(visit: Visit, principal: Principal): Caller {
  const { request, remote, exchange } = visit;
  return {
    principal,
    transport: "rest",
    client_id: clientIdOf(request) ?? "rest",
    remote,
    connection: null,
    signal: request.signal,
    mark: exchange.mark,
  };
}

/** What the client calls itself; null: nothing. @throws GatewayError INVALID_REQUEST */
export function clientIdOf(request: Request): string | null {
  const id = request.headers.get("x-client-id");
  if (id === null || id === "") return null;
  if (id.length <= CLIENT_ID_CHARS) return id;
  throw new GatewayError("INVALID_REQUEST", `X-Client-Id: at most ${CLIENT_ID_CHARS} characters`, {
    details: { kind: "client_id" },
  });
}
