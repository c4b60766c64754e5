import type { Server, WebSocketHandler } from "bun";
import type { Clock } from "../core/ports.ts";
import { GatewayError } from "../protocol/errors.ts";

/** What TLS is spoken with, as PEM. */
export interface TlsFiles {
  readonly cert: string;
  readonly key: string;
  /** Who connects needs a certificate of one of these; null: nobody is asked for one. */
  readonly client_ca: string | null;
}

export interface ListenAt {
  readonly hostname: string;
  /** 0 picks one. */
  readonly port: number;
  /** What the user changes to have another address. */
  readonly option: string;
}

/** What is done with what comes in. */
export interface Serves<D> {
  readonly websocket: WebSocketHandler<D>;
  readonly fetch: (request: Request, server: Server<D>) => Promise<Response>;
  readonly error: (error: unknown) => Response;
}

/** Idle sockets are closed after this; streams and slow methods say otherwise. */
const IDLE_SECS = 30;
const CLAIM_MS = 20;

interface Port<D> {
  /** With the port that was taken. */
  readonly at: ListenAt;
  server: Server<D>;
}

/** The ports that are listened on. `added` is told of every server and answers what to do once that has ended. */
export class Ports<D> {
  readonly #serves: Serves<D>;
  readonly #clock: Clock;
  readonly #added: (server: Server<D>) => () => void;
  readonly #ports: Port<D>[] = [];
  /** Those that take connections, and those that only have some left. */
  readonly #servers = new Map<Server<D>, () => void>();

  constructor(serves: Serves<D>, clock: Clock, added: (server: Server<D>) => () => void) {
    this.#serves = serves;
    this.#clock = clock;
    this.#added = added;
  }

  /** Opens a port of which nobody else has a part; answers which. @throws GatewayError UNAVAILABLE */
  async open(at: ListenAt, tls: TlsFiles | null): Promise<number> {
    if (tls !== null && at.port !== 0) await claim(at, this.#clock);
    const server = opened(at, () => serve(this.#serves, at, tls));
    const port = server.port ?? at.port;
    this.#add(server);
    this.#ports.push({ at: { ...at, port }, server });
    return port;
  }

  /**
   * A server keeps the certificate it began with: on every port another one takes its place, beside it, and it ends with
   * its last connection. @throws GatewayError UNAVAILABLE: nothing has changed
   */
  renew(tls: TlsFiles): void {
    const servers: Server<D>[] = [];
    try {
      for (const { at } of this.#ports) servers.push(opened(at, () => serve(this.#serves, at, tls)));
    } catch (error) {
      for (const server of servers) void server.stop(true);
      throw error;
    }
    for (const [index, server] of servers.entries()) {
      const port = this.#ports[index] as Port<D>;
      const before = port.server;
      this.#add(server);
      port.server = server;
      void before.stop().then(() => this.#forget(before));
    }
  }

  /** Ends whatever is open. Idempotent. */
  async close(): Promise<void> {
    this.#ports.length = 0;
    await Promise.all(
      [...this.#servers.keys()].map(async (server) => {
        await server.stop(true);
        this.#forget(server);
      }),
    );
  }

  /** Servers, with those that only have connections left. */
  get size(): number {
    return this.#servers.size;
  }

  #add(server: Server<D>): void {
    this.#servers.set(server, this.#added(server));
  }

  #forget(server: Server<D>): void {
    this.#servers.get(server)?.();
    this.#servers.delete(server);
  }
}

function opened<T>(at: ListenAt, open: () => T): T {
  try {
    return open();
  } catch (error) {
    throw cannotListen(error, at);
  }
}

/**
 * Whoever shares a port takes it from nobody and is told nothing: that it is free shows when it is asked for alone. Held for
 * longer than it takes to open it for good, so that of two who start at once one finds it taken. @throws GatewayError
 */
async function claim(at: ListenAt, clock: Clock): Promise<void> {
  const { hostname, port } = at;
  const held = opened(at, () =>
    Bun.listen({ hostname, port, exclusive: true, socket: { data: (socket) => void socket.end() } }),
  );
  await new Promise<void>((resolve) => clock.after(CLAIM_MS, resolve));
  held.stop(true);
}

function serve<D>(
  { websocket, fetch, error }: Serves<D>,
  { hostname, port }: ListenAt,
  tls: TlsFiles | null,
): Server<D> {
  return Bun.serve<D>({
    hostname,
    port,
    // Without it a second process cannot bind the same port, with it the next certificate's server can.
    reusePort: tls !== null,
    development: false,
    idleTimeout: IDLE_SECS,
    // Bodies are bounded where they are read, with an answer in our own words.
    maxRequestBodySize: Number.MAX_SAFE_INTEGER,
    websocket,
    fetch,
    error,
    ...(tls !== null && { tls: tlsOptions(tls) }),
  });
}

function tlsOptions({ cert, key, client_ca }: TlsFiles): Bun.TLSOptions {
  if (client_ca === null) return { cert, key };
  return { cert, key, ca: client_ca, requestCert: true, rejectUnauthorized: true };
}

function cannotListen(error: unknown, { hostname, port, option }: ListenAt): GatewayError {
  const at = `${bracketed(hostname)}:${port}`;
  const said: Record<string, string> = {
    EADDRINUSE: `${at} is in use: stop what listens there, or set ${option} to a free port`,
    EACCES: `no permission to listen on ${at}: set ${option} to a port above 1023`,
    EADDRNOTAVAIL: `${hostname} is no address of this machine: set server.host (or gateway.bind) to one that is`,
  };
  const code = (error as { code?: string }).code ?? "";
  return new GatewayError(
    "UNAVAILABLE",
    said[code] ?? `cannot listen on ${at} (${code}): set ${option} to another`,
    {
      details: { kind: "listen" },
      cause: error,
    },
  );
}

/** Where a client on this machine reaches what listens there. */
export function urlOf(hostname: string, port: number, tls: boolean): string {
  const anywhere = hostname === "0.0.0.0" || hostname === "";
  const host = anywhere ? "127.0.0.1" : hostname === "::" ? "[::1]" : bracketed(hostname);
  return `${tls ? "https" : "http"}://${host}:${port}`;
}

function bracketed(hostname: string): string {
  return hostname.includes(":") ? `[${hostname}]` : hostname;
}
