import type { SessionEvent } from "../client/events.ts";
import type { ConfigurationSource, Reloaded } from "../core/configuration.ts";
import type { Happening } from "../core/observers.ts";
import type { Logger } from "../core/ports.ts";
import type { Plugin } from "../plugin/api.ts";
import type { Auth } from "./auth.ts";
import type { AsUser, Chat } from "./chat.ts";
import type { BroadcastFilter, OpenConnections, SendOptions, SentEvent } from "./connections.ts";

export interface EmbedOptions {
  /** Where it logs: a pino logger, or anything like one. Default: JSON lines to stdout, by the section `log`. */
  readonly log?: Logger;
  /**
   * The outcome of a write is unknown, so nothing more may be shown: whoever embeds it decides what becomes of the process.
   * Default: the gateway stops by itself, its status is "failed".
   */
  readonly onFatal?: (error: unknown) => void;
  /** Where the configuration is read again while it runs. Default: it stays as it was given. */
  readonly source?: ConfigurationSource;
  /** The process is the gateway's alone: it is ended where a plug-in lets nothing else happen in it. Default: no. */
  readonly ownsProcess?: boolean;
  /** A gateway that runs on the data directory is asked to stop (SIGTERM), and waited for. Default: no, it is an error. */
  readonly takeover?: boolean;
  /** What this process starts anew in itself when SIGUSR2 comes: `agentbus upgrade` is told that it may ask for it. Default: nothing. */
  readonly executable?: string;
  /**
   * Told what start() does to open the database, such as bringing it up to date, which may take long on a large one; null: it is
   * over. A process that ends meanwhile loses nothing.
   */
  readonly onOpening?: (doing: string | null) => void;
}

export interface Started {
  /** Where the first listener is, such as http://127.0.0.1:18789. */
  readonly url: string;
  readonly urls: readonly string[];
  /** The administrator's token of this machine; `created`: it was just made. Null in mode none. */
  readonly token: { readonly value: string; readonly created: boolean } | null;
  /** What it proves itself with; null: no TLS. `expiresAt` in milliseconds since 1970. */
  readonly certificate: {
    readonly cert: string;
    readonly fingerprint: string;
    readonly expiresAt: number;
    readonly selfSigned: boolean;
  } | null;
}

export interface GatewayStatus {
  readonly name: string;
  readonly version: string;
  /** "stopped": not started yet, or no longer. "failed": see `onFatal`. */
  readonly status: "stopped" | "healthy" | "degraded" | "draining" | "failed";
  /** Seconds since it was created. */
  readonly uptime: number;
  /** Sockets and event streams that are open. */
  readonly connections: number;
  /** Different clients behind those that were let in. */
  readonly clients: number;
  readonly config: {
    readonly host: string;
    /** The one it listens on, where 0 asked for any. */
    readonly port: number;
    readonly auth_mode: string;
    readonly max_connections: number;
  };
}

export interface SubscribeOptions extends AsUser {
  /** Of the log the cursor belongs to. */
  readonly epoch?: string;
  /** Begins after this seq. Without it the first event is a snapshot. */
  readonly after?: number;
  /** Ends it, as leaving the loop does. */
  readonly signal?: AbortSignal;
}

/** A gateway inside this process. */
export interface Gateway {
  /**
   * Opens the store and listens. Once; a gateway that was stopped does not start again.
   * @throws GatewayError UNAVAILABLE, one line that says why: the port is taken, the data directory is in use …
   */
  start(): Promise<Started>;
  /**
   * Ends it in order: running answers get `graceMs` milliseconds (default: `server.shutdown_grace_secs`), what was
   * acknowledged is on disk. Called again it takes that grace back. Idempotent.
   */
  stop(options?: { readonly graceMs?: number }): Promise<void>;
  status(): GatewayStatus;
  /**
   * Reads the configuration again from `source`: all of it that needs no restart counts at once, or nothing of it. Nothing that
   * is under way ends. It is also done by itself when one of its files has changed.
   * @throws ConfigError, one line that says what is wrong: what counted before still does
   */
  reload(): Reloaded;
  readonly auth: Auth;
  readonly chat: Chat;
  readonly connections: OpenConnections;
  /**
   * A signal to every connection the filter lets through; resolves with how many. A predicate is asked of all before any is
   * sent it: where it throws, that is what this rejects with, and nobody was sent anything.
   * @param event `notification`, or a name that begins with `app.`
   * @param payload at most `limits.broadcast_bytes` of JSON
   * @throws GatewayError INVALID_REQUEST, TOO_LARGE
   * @example await gateway.broadcast("app.news", { text: "hi" }, ({ platform }) => platform === "web");
   */
  broadcast(
    event: string,
    payload: Readonly<Record<string, unknown>>,
    filter?: BroadcastFilter,
  ): Promise<number>;
  /**
   * An event to everybody who follows a session.
   * @throws GatewayError NOT_FOUND, GONE, INVALID_REQUEST, TOO_LARGE
   */
  sendTo(
    sessionId: string,
    event: string,
    payload: Readonly<Record<string, unknown>>,
    options?: SendOptions,
  ): Promise<SentEvent>;
  /**
   * The log of a session, as on the wire: first where it begins (`session.snapshot`, `session.resumed` or, where the cursor
   * means nothing any more, `session.reset`), then every event once and in order. A slow reader is read to from the store:
   * at most `limits.slow_soft_bytes` wait for it, and only a log that was trimmed meanwhile makes it begin anew, from another
   * snapshot. Ends when the session is deleted, the gateway stops, the signal is aborted or the loop is left.
   * @throws GatewayError NOT_FOUND, GONE, INVALID_REQUEST at the first event
   * @example
   * for await (const { event, payload } of gateway.subscribe(sessionId)) {
   *   if (event === "message.delta") process.stdout.write(payload.text);
   *   if (event === "run.completed") break;
   * }
   */
  subscribe(sessionId: string, options?: SubscribeOptions): AsyncIterableIterator<SessionEvent, undefined>;
  /**
   * Tells of every event of every session once it is committed, of `connection.joined` (again when its `connect` says what the
   * client is called) and `connection.left`, of broadcasts and other signals; `*`: of all. What a listener throws is logged. The
   * answer takes it back.
   */
  on(event: string, listener: (happening: Happening) => void): () => void;
  /**
   * Makes a plug-in part of the gateway, before or after the start; resolves, when its `setup` has, with what unloads it.
   * @throws Error that says why it is not taken
   */
  use(plugin: Plugin): Promise<() => Promise<void>>;
}
