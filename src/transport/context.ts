import type { Files } from "../core/attachment.ts";
import type { Caller, Dispatch } from "../core/call.ts";
import type { Receive } from "../core/automation.ts";
import type { Challenger } from "../core/challenge.ts";
import type { Connection, Connections } from "../core/connections.ts";
import type { Followers } from "../core/follow.ts";
import type { Hub } from "../core/hub.ts";
import type { Limits } from "../core/limits.ts";
import type { AddedRoute } from "../core/plugins.ts";
import type { RunTimes } from "../core/run-times.ts";
import type { Clock, Logger } from "../core/ports.ts";
import type { Authenticator, Credential, TailnetPeer } from "../core/principal.ts";
import type { Directory } from "../core/session.ts";
import type { Asker } from "../core/stats.ts";
import type { GatewayError } from "../protocol/errors.ts";
import type { MethodDefinition } from "../protocol/methods.ts";
import type { StrangerBodies } from "./stranger-bodies.ts";

/** What the door says of a request before anybody is authenticated; null: come in. */
export interface Doors {
  /** Host allow-list, for every request. `host` is the Host header. */
  checkHost(host: string | null): GatewayError | null;
  /** Origin rule, for upgrades, SSE and state-changing requests. */
  checkOrigin(request: Request): GatewayError | null;
  /** The Origin to echo for CORS; null: none. */
  corsOrigin(origin: string | null): string | null;
  /** The client's address: the peer's, or what a trusted proxy says it is. */
  remoteOf(peer: string, headers: Headers): string;
  /** Who may be known without a credential, by where they come from; null: nobody. */
  tailnetOf(
    peer: { readonly address: string; readonly port: number } | null,
    headers: Headers,
  ): TailnetPeer | null;
}

/** The web page of the gateway, made beforehand: files whose names have a hash in them. */
export interface ConsoleAssets {
  /** The names of what the page begins with. */
  entry(): Promise<Readonly<Record<"script" | "style" | "icon" | "touch_icon" | "manifest", string>>>;
  /** The file of that name in one of the encodings the browser takes, or as it is; null: there is none. */
  find(
    name: string,
    encodings: readonly string[],
  ): Promise<{ readonly body: Blob; readonly encoding: "br" | "gzip" | null } | null>;
}

export interface TransportOptions {
  readonly name: string;
  readonly version: string;
  readonly node_id: string;
  /** gateway.enabled: false answers 404 to upgrades. */
  readonly sockets: boolean;
  /** server.public_url, without a slash at its end: what clients call this gateway; empty: what they say themselves. */
  readonly public_url: string;
  /** auth.mode none: no credential is asked for. */
  readonly open: boolean;
  /** Peers of the tailnet may come without a credential. */
  readonly tailnet: boolean;
  /** Devices are accepted: every socket is sent connect.challenge first, asked for or not. */
  readonly challenge: boolean;
  /** The owner may come with a password. */
  readonly password: boolean;
  readonly heartbeat_interval_secs: number;
  readonly connection_timeout_secs: number;
  readonly capabilities: readonly string[];
}

/** Everything the transports are handed. They hold no behaviour: `dispatch` does, and `followers` streams. */
export interface TransportContext {
  readonly options: TransportOptions;
  readonly limits: Limits;
  /** Bodies of whoever has not said who they are. */
  readonly strangers: StrangerBodies;
  readonly clock: Clock;
  readonly log: Logger;
  readonly dispatch: Dispatch;
  /** Every method, without aliases. */
  readonly definitions: () => readonly MethodDefinition[];
  /** By name or alias. */
  readonly definition: (name: string) => MethodDefinition | undefined;
  /** Routes that plug-ins add; the same list until one comes or goes. */
  readonly addedRoutes: () => readonly AddedRoute[];
  /** Takes in what others deliver for a hook. */
  readonly receive: Receive;
  /** Why a route that is no method may not change anything for this caller now; null: it may. */
  readonly refuseChange: (caller: Caller) => GatewayError | null;
  /** Names of all events. */
  readonly events: readonly string[];
  readonly authenticator: Authenticator;
  readonly challenger: Challenger;
  /** Reads an Authorization header; null: there is none. The error is the answer to one that cannot be read. */
  readonly credential: (authorization: string | null) => Credential | GatewayError | null;
  readonly doors: Doors;
  readonly connections: Connections;
  readonly followers: Followers;
  readonly directory: Directory;
  readonly files: Files;
  readonly hub: Hub;
  readonly console: ConsoleAssets;
  /** Seconds since start. */
  readonly uptime: () => number;
  readonly status: () => "healthy" | "degraded" | "draining";
  readonly ready: () => Readonly<
    Record<"store" | "disk" | "draining" | "provider", { ok: boolean; reason?: string }>
  >;
  /** How long runs waited for others. */
  readonly times: RunTimes;
  /** What is measured, as text, and its content type; null: metrics.enabled is false. */
  readonly metrics:
    | ((format: "prometheus" | "openmetrics") => { readonly type: string; readonly text: string })
    | null;
  /** Counted in stats: an error with the limit it tells of, a limit that no error tells of, a reader that was too slow. */
  readonly count: {
    limit(option: string, asker: Asker): void;
    error(error: GatewayError, asker: Asker): void;
    slowConsumer(): void;
  };
  /**
   * Called when a connection is authenticated or gone: presence, revocation. A socket that was authenticated at its
   * upgrade joins again when a later `connect` says what the client is called.
   */
  readonly onConnection: (connection: Connection, state: "joined" | "left") => void;
}
