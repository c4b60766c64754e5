import type { DeviceCredential } from "./device.ts";
import type { OutboxStorage } from "./kept.ts";

/** What a client needs of a WebSocket: the global one does, and so do those of packages for runtimes without. */
export interface SocketLike {
  readonly readyState: number;
  send(text: string): void;
  close(code?: number): void;
  /** Ends it without a word, where the implementation can. */
  terminate?(): void;
  // oxlint-disable-next-line typescript/no-explicit-any -- each implementation has events of its own
  addEventListener(type: string, listener: (event: any) => void): void;
}

export type FetchLike = (url: string, init: RequestInit) => Promise<Response>;

/** Times are seconds, as in the gateway's own policy, unless the name ends in `_ms`. */
export interface ClientOptions {
  /** Of the gateway: http(s) or ws(s); `/ws` is added unless the path names the socket already. */
  readonly url: string;
  readonly auth_token?: string | undefined;
  readonly session_token?: string | undefined;
  readonly password?: string | undefined;
  /** A key of this installation: `deviceOf` makes it of a pair of WebCrypto's. */
  readonly device?: DeviceCredential;
  /** Default: random, the same for the life of the client. */
  readonly client_id?: string;
  readonly client_name?: string;
  readonly version?: string;
  readonly platform?: string;
  readonly capabilities?: readonly string[];
  /** Whether a lost connection is made again. Default true. */
  readonly auto_reconnect?: boolean;
  /**
   * Attempts in a row that fail before the client gives up; 0: no end. Default 10. They are counted anew after every success
   * and when the machine has a network again. Those right after a restart of the gateway do not count.
   */
  readonly max_reconnect_attempts?: number;
  /** Seconds. The first two attempts come at once; later ones within this, twice this, and so on up to 30 s. Default 5. */
  readonly reconnect_delay?: number;
  /** Seconds. A connection that is quiet for so long is asked for a sign of life; while a run is active, after 3 s. Default 30. */
  readonly heartbeat_interval?: number;
  /** Seconds a request waits for its answer, connection included; 0: for ever. Default 30. */
  readonly request_timeout?: number;
  /** Longest for one attempt to connect, handshake included. Default 10,000. */
  readonly connect_timeout_ms?: number;
  /**
   * "websocket"; "sse": event streams and plain requests; "auto": a socket where there is one and it gets through, else the
   * other. Default "auto".
   */
  readonly transport?: "auto" | "websocket" | "sse";
  /** For runtimes without a global WebSocket, or to say how the gateway's certificate is known. */
  readonly WebSocket?: new (url: string, protocols?: string | string[]) => SocketLike;
  /**
   * Keeps messages that the gateway has not taken yet, so that they outlive a page: asked for once it is known who is in, for they are
   * theirs. What was left is sent then, once, by its key.
   */
  readonly outbox?: (user: string) => OutboxStorage;
  /** Instead of the global one. */
  readonly fetch?: FetchLike;
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

/** Where the paths of HTTP begin, for what socketUrl() answered. */
export function restBase(socket_url: string): string {
  return socket_url.replace(/^ws/, "http").replace(/\/(?:ws)?$/, "");
}

/** Pages that came over plain HTTP have no crypto.randomUUID. */
export function randomId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
