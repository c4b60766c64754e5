import type { DeviceCredential } from "./device.ts";

export interface ClientOptions {
  /** Of the gateway: http(s) or ws(s); `/ws` is added unless the path names the socket already. */
  readonly url: string;
  readonly auth_token?: string;
  readonly session_token?: string;
  readonly password?: string;
  /** A key of this installation: `deviceOf` makes it of a pair of WebCrypto's. */
  readonly device?: DeviceCredential;
  /** Default: random, the same for the life of the client. */
  readonly client_id?: string;
  readonly client_name?: string;
  readonly version?: string;
  readonly platform?: string;
  readonly capabilities?: readonly string[];
  /** Longest for one attempt to connect, handshake included. Default 10,000. */
  readonly connect_timeout_ms?: number;
  /** For runtimes without a global WebSocket. */
  readonly WebSocket?: typeof WebSocket;
  /** In [0, 1). Default Math.random. */
  readonly random?: () => number;
}

/** The params of `connect`. @throws TypeError for a client_id that cannot be signed */
export function greetingOf(options: ClientOptions): Record<string, unknown> & { readonly client_id: string } {
  const { auth_token, session_token, password, client_name, version, platform, capabilities } = options;
  const client_id = options.client_id ?? randomId();
  if (options.device !== undefined && (client_id === "" || client_id.includes("|"))) {
    throw new TypeError('the client_id of a device is not empty and has no "|"');
  }
  const said = { client_id, client_name, version, platform, capabilities };
  return { ...said, auth_token, session_token, password, protocol: { min: 1, max: 1 } };
}

/** Where the socket is. @throws TypeError where it is no URL, or carries a credential. */
export function socketUrl(given: string): string {
  const url = new URL(given);
  if (url.username !== "" || url.password !== "")
    throw new TypeError("a credential does not belong in the URL");
  const is_socket = url.protocol === "ws:" || url.protocol === "wss:";
  if (!is_socket) url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  const path = url.pathname.replace(/\/+$/, "");
  if (!path.endsWith("/ws") && !(is_socket && path !== "")) url.pathname = `${path}/ws`;
  return url.href;
}

/** Pages that came over plain HTTP have no crypto.randomUUID. */
export function randomId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
