import type { TestDevice } from "../support/device.ts";
import { newDevice } from "../support/device.ts";
import type { TestSocket } from "../support/ws-client.ts";
import { openSocket, requestUpgrade } from "../support/ws-client.ts";
import type { Answer } from "./stack.ts";
import { ask } from "./stack.ts";

/** What can be shown. */
export type Kind = "token" | "session_token" | "ticket" | "password" | "device" | "tailnet";
/** Where: with a request, with one for a stream, at an upgrade, in the first frame. */
export type Place = "rest" | "sse" | "upgrade" | "connect";

/** One of each kind has one of these. */
export interface Secret {
  readonly text?: string;
  readonly device?: TestDevice;
  /** The signature is somebody else's. */
  readonly forged?: true;
  readonly peer?: { readonly address: string; readonly login: string };
}

/** How a secret goes out. */
interface Shown {
  readonly headers?: Record<string, string>;
  readonly protocols?: readonly string[];
  readonly query?: string;
  readonly connect?: Record<string, unknown>;
}

export interface Way {
  readonly name: string;
  readonly kind: Kind;
  readonly place: Place;
  readonly show: (secret: Secret) => Shown;
}

const anywhere: readonly Place[] = ["rest", "sse", "upgrade"];

function ways(
  name: string,
  kinds: readonly Kind[],
  places: readonly Place[],
  show: (secret: Secret) => Shown,
): Way[] {
  return kinds.flatMap((kind) =>
    places.map((place) => ({ name: `${place}: a ${kind} as ${name}`, kind, place, show })),
  );
}

/** Every way in. */
export const WAYS: readonly Way[] = [
  ...ways("Bearer", ["token", "session_token"], anywhere, ({ text }) => ({
    headers: { authorization: `Bearer ${text}` },
  })),
  ...ways("Basic", ["token", "session_token", "password"], anywhere, ({ text }) => ({
    headers: { authorization: `Basic ${btoa(`gateway:${text}`)}` },
  })),
  ...ways("?ticket=", ["ticket"], ["sse"], ({ text = "" }) => ({ query: `ticket=${text}` })),
  ...ways("subprotocol", ["ticket"], ["upgrade"], ({ text }) => ({
    protocols: ["agentbus.v1", `agentbus.ticket.${text}`],
  })),
  ...ways("auth_token", ["token", "session_token"], ["connect"], ({ text }) => ({
    connect: { auth_token: text },
  })),
  ...ways("session_token", ["session_token"], ["connect"], ({ text }) => ({
    connect: { session_token: text },
  })),
  ...ways("password", ["password"], ["connect"], ({ text }) => ({ connect: { password: text } })),
  ...ways("a signature", ["device"], ["connect"], () => ({ connect: { client_id: "cli" } })),
  ...ways("who it is", ["tailnet"], [...anywhere, "connect"], ({ peer }) => ({
    headers: {
      "x-forwarded-for": peer?.address ?? "",
      ...(peer !== undefined && { "tailscale-user-login": peer.login }),
    },
    connect: {},
  })),
];

export interface Gate {
  readonly url: string;
  readonly ws_url: string;
}

/** Wrong ones are counted by address: each state of each kind comes from one of its own. */
function headersOf(shown: Shown, from: string): Record<string, string> {
  return { "x-forwarded-for": from, ...shown.headers };
}

export interface Request {
  readonly verb: string;
  readonly path: string;
  readonly body?: unknown;
}

/** A request, or a stream up to its end. */
export function send(gate: Gate, way: Way, secret: Secret, from: string, request: Request): Promise<Answer> {
  const shown = way.show(secret);
  const { verb, path, body } = request;
  const sign = path.includes("?") ? "&" : "?";
  const whole = shown.query === undefined ? path : `${path}${sign}${shown.query}`;
  const headers = headersOf(shown, from);
  return ask(`${gate.url}${whole}`, verb, { headers, ...(body !== undefined && { body }) });
}

/** The answer to an upgrade that may be refused. */
export function upgrade(gate: Gate, way: Way, secret: Secret, from: string): Promise<Response> {
  const shown = way.show(secret);
  const { protocols = [] } = shown;
  return requestUpgrade(gate.ws_url, {
    ...headersOf(shown, from),
    ...(protocols.length > 0 && { "sec-websocket-protocol": protocols.join(", ") }),
  });
}

/** A socket on which the secret was shown, and `connect` answered where it was shown there. */
export async function enter(gate: Gate, way: Way, secret: Secret, from: string): Promise<TestSocket> {
  const socket = await openBare(gate, way, secret, from);
  if (way.place === "connect") await socket.request("connect", await helloOf(socket, way, secret));
  return socket;
}

/** What comes of a request that is sent behind a `connect`, without waiting for its answer, until the socket is closed. */
export async function behind(
  gate: Gate,
  way: Way,
  secret: Secret,
  from: string,
  method: string,
): Promise<{ codes: string[]; close: number }> {
  await using socket = await openBare(gate, way, secret, from);
  if (way.place === "connect") {
    socket.send({ type: "req", id: "h", method: "connect", params: await helloOf(socket, way, secret) });
  }
  socket.send({ type: "req", id: "m", method, params: {} });
  const { code } = await socket.closed;
  const answers = socket.frames.map(({ json }) => json).filter(({ type }) => type !== "event");
  return { codes: answers.map(({ ok, error }) => (ok === true ? "answered" : error.code)), close: code };
}

function openBare(gate: Gate, way: Way, secret: Secret, from: string): Promise<TestSocket> {
  const shown = way.show(secret);
  return openSocket(gate.ws_url, { headers: headersOf(shown, from), protocols: shown.protocols ?? [] });
}

async function helloOf(socket: TestSocket, way: Way, secret: Secret): Promise<Record<string, unknown>> {
  const said = way.show(secret).connect ?? {};
  const { device, forged } = secret;
  if (device === undefined) return said;
  const { json } = await socket.nextEvent("connect.challenge");
  const { nonce, server_id } = json.payload;
  const proof = device.prove({ nonce, server_id });
  if (forged === undefined) return { ...said, device: proof };
  const { signature } = newDevice().prove({ nonce, server_id });
  return { ...said, device: { ...proof, signature } };
}
