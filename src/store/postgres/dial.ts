import { SQL } from "bun";
import { SCHEMA } from "./schema.ts";

/** How a server is reached: from storage.url. */
export interface Dial {
  readonly url: string;
  /** A statement that takes longer is ended. */
  readonly silence_ms: number;
  /** And so is a transaction in which nothing happens for so long: what it has locked others need, once its node is gone. */
  readonly idle_ms: number;
  /** Shown by the server beside every connection. */
  readonly application_name: string;
}

const CONNECT_SECS = 10;
/** How long a statement waits for somebody else's lock. */
const LOCK_MS = 5_000;
/** The server gives up a peer that is gone after some 25 s, so that what it had locked is free again. */
const KEEPALIVE = { tcp_keepalives_idle: "10", tcp_keepalives_interval: "5", tcp_keepalives_count: "3" };
const DEFAULT_PORT = "5432";

/** So many connections at the most, each made when it is first needed. Nothing is connected yet. */
export function dial({ url, silence_ms, idle_ms, application_name }: Dial, max: number): SQL {
  const { address, tls, path } = addressOf(url);
  const settings = {
    application_name,
    search_path: SCHEMA,
    client_min_messages: "warning",
    statement_timeout: String(silence_ms),
    lock_timeout: String(LOCK_MS),
    idle_in_transaction_session_timeout: String(idle_ms),
    ...KEEPALIVE,
  };
  return new SQL({
    adapter: "postgres",
    url: address,
    max,
    idleTimeout: 0,
    maxLifetime: 0,
    connectionTimeout: CONNECT_SECS,
    ...(path !== null && { path }),
    ...(tls !== null && { tls }),
    connection: settings,
  });
}

interface Address {
  readonly address: string;
  readonly tls: { readonly ca?: ReturnType<typeof Bun.file>; readonly rejectUnauthorized?: boolean } | null;
  /** Of a Unix socket. */
  readonly path: string | null;
}

/** As libpq reads it: `?host=/run/postgresql` is a folder of sockets, `?sslrootcert=FILE` an authority. */
function addressOf(url: string): Address {
  const parsed = new URL(url);
  const host = parsed.searchParams.get("host");
  const port = parsed.searchParams.get("port") ?? (parsed.port || DEFAULT_PORT);
  const authority = parsed.searchParams.get("sslrootcert");
  for (const name of ["host", "port", "sslrootcert"]) parsed.searchParams.delete(name);
  if (host?.startsWith("/") === true) {
    if (parsed.hostname === "") parsed.hostname = "localhost";
    return { address: parsed.href, tls: null, path: `${host}/.s.PGSQL.${port}` };
  }
  if (!parsed.searchParams.has("sslmode") && !isLocal(parsed.hostname))
    parsed.searchParams.set("sslmode", "verify-full");
  const tls = authority === null ? null : { ca: Bun.file(authority), rejectUnauthorized: true };
  return { address: parsed.href, tls, path: null };
}

/** What is said on this machine nobody else hears. */
function isLocal(hostname: string): boolean {
  return ["", "localhost", "127.0.0.1", "[::1]"].includes(hostname);
}
