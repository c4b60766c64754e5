import type { ReservedSQL, SQL } from "bun";
import { GatewayError } from "../../protocol/errors.ts";
import { dial } from "../postgres/dial.ts";
import { adviceFor, describeFailure } from "../postgres/failures.ts";
import { identify } from "../postgres/identity.ts";
import type { Queries } from "../postgres/queries.ts";
import { queriesOf } from "../postgres/queries.ts";
import { SCHEMA } from "../postgres/schema.ts";
import type { End } from "./end.ts";
import { MIGRATION_LOCK } from "./unfinished.ts";

/** The index of what was copied may take long. */
const SILENCE_MS = 3_600_000;

export interface PostgresPlace {
  /** postgres://… */
  readonly url: string;
  /** Of the data directory that is held: the node that goes by it does not run. */
  readonly node_key: string;
}

/** A database that nobody else works on. */
export interface Claimed {
  readonly q: Queries;
  /** For people; without user and password. */
  readonly place: string;
  readonly close: () => Promise<void>;
}

/** Connects once, and keeps others away for as long as that lasts. @throws GatewayError UNAVAILABLE that says what to do */
export async function claimDatabase<E extends End>(
  to: PostgresPlace,
  use: (connected: Claimed) => Promise<E>,
): Promise<E> {
  const { hostname, port, pathname } = new URL(to.url);
  const place = `the database ${pathname.slice(1)} of ${hostname || "this machine"}${port === "" ? "" : `:${port}`}`;
  const pool = dial(
    { url: to.url, silence_ms: SILENCE_MS, idle_ms: SILENCE_MS, application_name: "agentbus migrate" },
    1,
  );
  let connection: ReservedSQL | null = null;
  const close = (): Promise<void> => leave(pool, connection);
  try {
    connection = await pool.reserve();
    const q = queriesOf(connection, pool);
    await identify(q);
    await claim(q, place, to.node_key);
    return await use({ q, place, close });
  } catch (error) {
    await close();
    if (error instanceof GatewayError) throw renamed(error, place);
    const advice = adviceFor(error).replaceAll("storage.url", "its address");
    throw refuse(`cannot use ${place}: ${advice} (${describeFailure(error)})`, error);
  }
}

async function leave(pool: SQL, connection: ReservedSQL | null): Promise<void> {
  await connection?.release();
  await pool.close({ timeout: 1 });
}

/** What a gateway calls its database has another name here. */
function renamed(error: GatewayError, place: string): GatewayError {
  const message = error.message.replace("the database of storage.url", place);
  return new GatewayError(error.reason, message, { details: error.details ?? {}, cause: error });
}

/** Holds the database for as long as the connection lasts: a node that begins looks for that after it made itself known. */
async function claim(q: Queries, place: string, node_key: string): Promise<void> {
  const claimed = await q.one<{ got: boolean }>("SELECT pg_try_advisory_lock($1::bigint) AS got", [
    MIGRATION_LOCK,
  ]);
  if (claimed?.got !== true)
    throw refuse(`another agentbus migrate, or a gateway that starts, is at work on ${place}: wait for that`);
  const made = await q.one<{ nodes: boolean }>("SELECT to_regclass($1::text) IS NOT NULL AS nodes", [
    `${SCHEMA}.nodes`,
  ]);
  if (made?.nodes !== true) return;
  const living = await q.all<{ name: string }>(
    "SELECT name FROM nodes WHERE lease_until > clock_timestamp() AND node_key <> $1::text ORDER BY name",
    [node_key],
  );
  if (living.length === 0) return;
  const names = living.map(({ name }) => name).join(", ");
  throw refuse(
    `a gateway runs on ${place} (${names}): stop it first; one that was killed counts as gone after cluster.lease_secs`,
  );
}

function refuse(message: string, cause?: unknown): GatewayError {
  return new GatewayError("UNAVAILABLE", message, { details: { kind: "migration" }, cause });
}
