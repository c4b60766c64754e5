import type { Challenge } from "../core/challenge.ts";
import { newId } from "../core/id.ts";
import type { Authenticated, Credential, Principal } from "../core/principal.ts";
import { isAmbient } from "../core/principal.ts";
import { connect, disconnect, heartbeat } from "../protocol/api/system.ts";
import { GatewayError } from "../protocol/errors.ts";
import type { RequestFrame } from "../protocol/frames.ts";
import { encodeOk, encodeSignal } from "../protocol/frames.ts";
import { PROTOCOL_VERSION, validate } from "../protocol/schema.ts";
import type { SocketOptions } from "./connection-port.ts";
import type { TransportContext } from "./context.ts";
import { credentialIn } from "./credential.ts";

/** What a valid `connect` says. */
export interface Hello {
  readonly client_id: string;
  readonly client_name: string;
  readonly version: string;
  readonly platform: string;
  readonly capabilities: readonly string[];
  /** Null: it carries none. */
  readonly credential: Credential | null;
}

/** Besides `connect`, the methods a socket answers by itself. */
const OWN_METHODS = { disconnect, heartbeat } as const;

export function isOwn(method: string): method is keyof typeof OWN_METHODS {
  return method === "heartbeat" || method === "disconnect";
}

/** @throws GatewayError INVALID_REQUEST */
export function answerOwn(frame: RequestFrame, method: keyof typeof OWN_METHODS, now: number): string {
  validate(OWN_METHODS[method].params, frame.params);
  return encodeOk(frame.id, method === "heartbeat" ? { ts: now } : {});
}

type Socket = Pick<SocketOptions, "origin" | "challenge">;

/** Reads the params of `connect`; the error has details `{kind:"protocol", min, max}` where no version is shared. */
export function readHello(params: unknown, socket: Socket): Hello | GatewayError {
  try {
    return readParams(params, socket);
  } catch (error) {
    if (error instanceof GatewayError) return error;
    throw error;
  }
}

function readParams(params: unknown, { origin, challenge }: Socket): Hello {
  const said = validate(connect.params, params);
  const { min, max } = said.protocol ?? { min: PROTOCOL_VERSION, max: PROTOCOL_VERSION };
  if (min > PROTOCOL_VERSION || max < PROTOCOL_VERSION) {
    throw new GatewayError(
      "INVALID_REQUEST",
      `this gateway speaks protocol version ${PROTOCOL_VERSION} only`,
      {
        details: { kind: "protocol", min: PROTOCOL_VERSION, max: PROTOCOL_VERSION },
      },
    );
  }
  return {
    client_id: said.client_id ?? "",
    client_name: said.client_name ?? "",
    version: said.version ?? "",
    platform: said.platform ?? "",
    capabilities: said.capabilities ?? [],
    credential: credentialIn(said, { origin, spend: (nonce) => challenge?.spend(nonce) === true }),
  };
}

/** A socket that was somebody at its upgrade stays so; who showed nothing may do so until it follows something. */
export function mayBecome(before: Principal | null, next: Principal, follows: number): boolean {
  if (before === null || before.user === next.user) return true;
  return isAmbient(before) && follows === 0;
}

/** The signal with what a device signs: the first frame where the mode takes devices, or the client asks for it. */
export function challengeFrame({ nonce, server_id, ts }: Challenge): string {
  return encodeSignal("connect.challenge", ts, { nonce, server_id, ts });
}

export function notConnected(): GatewayError {
  return new GatewayError("UNAUTHORIZED", "connect first: nobody is authenticated on this socket");
}

export function tooEarly(connect_bytes: number): GatewayError {
  return new GatewayError("TOO_LARGE", `more than ${connect_bytes} bytes before connect`, {
    limit: { what: "connect_bytes", limit: connect_bytes },
  });
}

export function connectedTwice(): GatewayError {
  const message = "connect was sent already: it is sent once per socket";
  return new GatewayError("CONFLICT", message, { details: { kind: "state" } });
}

/** Asks the authenticator; its unexpected failures become INTERNAL_ERROR with an id that is in the log. Never throws. */
export async function authenticate(
  context: TransportContext,
  credential: Credential,
  remote: string,
  client_id = "",
): Promise<Authenticated> {
  try {
    return await context.authenticator.authenticate(credential, { transport: "ws", remote, client_id });
  } catch (error) {
    if (error instanceof GatewayError) return { ok: false, error };
    const id = newId("req", context.clock.now());
    context.log.error({ error_id: id, err: error }, "authentication failed unexpectedly");
    const message = `something went wrong; the log has it under ${id}`;
    return { ok: false, error: new GatewayError("INTERNAL_ERROR", message, { details: { id } }) };
  }
}

/** The payload that answers `connect`. */
export function welcome(
  context: TransportContext,
  connectionId: string,
  principal: Principal,
): Record<string, unknown> {
  const { options, limits } = context;
  const methods = new Set<string>(["connect", ...Object.keys(OWN_METHODS)]);
  for (const definition of context.definitions()) methods.add(definition.name);
  const { expires_at } = principal;
  return {
    server_info: {
      name: options.name,
      version: options.version,
      protocol_version: PROTOCOL_VERSION,
      node_id: options.node_id,
      connection_id: connectionId,
    },
    capabilities: options.capabilities,
    features: { methods: [...methods], events: context.events },
    policy: {
      heartbeat_interval: options.heartbeat_interval_secs,
      connection_timeout: options.connection_timeout_secs,
      max_connections: limits.max_connections,
      max_frame_bytes: limits.frame_bytes,
      max_in_flight: limits.in_flight,
      max_waits_in_flight: limits.waits_in_flight,
      max_message_bytes: limits.message_bytes,
      max_subscriptions: limits.subscriptions,
    },
    auth_info: {
      user: principal.user,
      method: principal.method,
      scopes: [...principal.scopes],
      ...(expires_at !== null && { expires_at }),
    },
  };
}
