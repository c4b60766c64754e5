import { newDevice } from "../support/device.ts";
import type { TestDevice } from "../support/device.ts";
import type { RunningGateway } from "../support/gateway-process.ts";
import { openSocket, requestUpgrade } from "../support/ws-client.ts";

/** What showing a credential came to. */
export interface Told {
  /** 200 and the like, or the HTTP status of the error's code. */
  readonly status: number;
  readonly retry_after_ms?: number | undefined;
  readonly kind?: unknown;
}

type Headers_ = Readonly<Record<string, string>>;
/** One way to show a credential over one transport; without a secret of its own it is a wrong one, another every time. */
export type Way = (gateway: RunningGateway, headers: Headers_, secret?: string) => Promise<Told>;

const HTTP: Readonly<Record<string, number>> = { UNAUTHORIZED: 401, RATE_LIMITED: 429, UNAVAILABLE: 503 };

let guesses = 0;
/** Of the right form, and nobody's. */
function guess(prefix: string): string {
  return `${prefix}${String(++guesses).padStart(43, "A")}`;
}

export function bearer(token: string): Record<string, string> {
  return { authorization: `Bearer ${token}` };
}
export function basic(secret: string): Record<string, string> {
  return { authorization: `Basic ${Buffer.from(`gateway:${secret}`).toString("base64")}` };
}
export function from(address: string): Record<string, string> {
  return { "x-forwarded-for": address };
}

async function toldBy(response: Response): Promise<Told> {
  const { status, headers } = response;
  if (headers.get("content-type")?.startsWith("application/json") !== true) {
    await response.body?.cancel();
    return { status };
  }
  const { error } = (await response.json()) as {
    error?: { retry_after_ms?: number; details?: { kind?: unknown } };
  };
  return { status, retry_after_ms: error?.retry_after_ms, kind: error?.details?.kind };
}

async function rest({ url }: RunningGateway, headers: Headers_): Promise<Told> {
  return toldBy(await fetch(`${url}/api/v1/sessions`, { headers }));
}
/** The session is made by whoever tests. */
async function stream({ url }: RunningGateway, headers: Headers_, query = ""): Promise<Told> {
  return toldBy(await fetch(`${url}/api/v1/sessions/s/events${query}`, { headers }));
}
async function login({ url }: RunningGateway, headers: Headers_, body: object): Promise<Told> {
  const json = { ...headers, "content-type": "application/json" };
  return toldBy(
    await fetch(`${url}/api/v1/auth_sessions`, { method: "POST", headers: json, body: JSON.stringify(body) }),
  );
}
async function upgrade({ ws_url }: RunningGateway, headers: Headers_): Promise<Told> {
  const response = await requestUpgrade(ws_url, { ...headers });
  return response.status === 101 ? { status: 101 } : await toldBy(response);
}
async function connect({ ws_url }: RunningGateway, headers: Headers_, params: object): Promise<Told> {
  await using socket = await openSocket(ws_url, { headers: { ...headers } });
  socket.send({ type: "req", id: "h", method: "connect", params });
  const { error } = (await socket.next(({ json }) => json.id === "h", 30_000)).json;
  if (error === undefined) return { status: 200 };
  return { status: HTTP[error.code] ?? 0, retry_after_ms: error.retry_after_ms, kind: error.details?.kind };
}

/** Those a token is let in by. */
export const TOKEN_WAYS: Readonly<Record<string, Way>> = {
  "REST, Bearer": (gateway, headers, secret = guess("agb_")) =>
    rest(gateway, { ...headers, ...bearer(secret) }),
  "REST, Basic": (gateway, headers, secret = guess("agb_")) =>
    rest(gateway, { ...headers, ...basic(secret) }),
  "SSE, Bearer": (gateway, headers, secret = guess("agb_")) =>
    stream(gateway, { ...headers, ...bearer(secret) }),
  "upgrade, Bearer": (gateway, headers, secret = guess("agb_")) =>
    upgrade(gateway, { ...headers, ...bearer(secret) }),
  "connect, auth_token": (gateway, headers, auth_token = guess("agb_")) =>
    connect(gateway, headers, { auth_token }),
  "login, auth_token": (gateway, headers, auth_token = guess("agb_")) =>
    login(gateway, headers, { auth_token }),
};

/** Signs with a key that is not the one it shows. */
function forged(device: TestDevice, nonce: string, server_id: string): object {
  return {
    ...newDevice().prove({ nonce, server_id }),
    public_key: device.public_key,
    device_id: device.device_id,
  };
}

/** Those of every other kind of credential. `device` is admitted. */
export function otherWays(device: TestDevice): Readonly<Record<string, Way>> {
  return {
    "connect, session_token": (gateway, headers) =>
      connect(gateway, headers, { session_token: guess("ags_") }),
    "login, session_token": (gateway, headers) => login(gateway, headers, { session_token: guess("ags_") }),
    "upgrade, ticket": (gateway, headers) =>
      upgrade(gateway, {
        ...headers,
        "sec-websocket-protocol": `agentbus.v1, agentbus.ticket.${guess("agt_")}`,
      }),
    "SSE, ticket": (gateway, headers) => stream(gateway, headers, `?ticket=${guess("agt_")}`),
    "REST, Basic with a password": (gateway, headers) =>
      rest(gateway, { ...headers, ...basic(guess("pass ")) }),
    "connect, password": (gateway, headers) => connect(gateway, headers, { password: guess("pass ") }),
    "login, password": (gateway, headers) => login(gateway, headers, { password: guess("pass ") }),
    "connect, device": async (gateway, headers) => {
      await using socket = await openSocket(gateway.ws_url, { headers: { ...headers } });
      const { nonce, server_id } = (await socket.nextEvent("connect.challenge")).json.payload;
      socket.send({
        type: "req",
        id: "h",
        method: "connect",
        params: { client_id: "cli", device: forged(device, nonce, server_id) },
      });
      const { error } = (await socket.next(({ json }) => json.id === "h", 30_000)).json;
      return {
        status: HTTP[error?.code] ?? 0,
        retry_after_ms: error?.retry_after_ms,
        kind: error?.details?.kind,
      };
    },
    "login, device": async (gateway, headers) => {
      const challenge = await fetch(`${gateway.url}/api/v1/challenges`, { method: "POST", headers });
      const { nonce, server_id } = (await challenge.json()) as { nonce: string; server_id: string };
      return login(gateway, headers, { client_id: "cli", device: forged(device, nonce, server_id) });
    },
  };
}
