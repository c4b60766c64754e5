import type { Clock } from "../../core/ports.ts";
import { GatewayError } from "../../protocol/errors.ts";
import { adviceFor, describeFailure } from "./failures.ts";
import { identify } from "./identity.ts";
import { isUnfinished } from "./migrating.ts";
import { differences } from "./node-facts.ts";
import { Pool } from "./pool.ts";
import type { Queries } from "./queries.ts";
import { SCHEMA, knownVersion } from "./schema.ts";

/** What is found out about a database without changing it. */
export type Examined =
  | { readonly state: "ok"; readonly finding: string }
  | { readonly state: "warning" | "failed"; readonly finding: string; readonly advice: string };

const SILENCE_MS = 10_000;

const DURABLE = {
  state: "warning" as const,
  finding: "it may lose what it acknowledged",
  advice: "set fsync = on",
};
const ANOTHER =
  "mend that, or have storage.url name the database of a PostgreSQL that can be used; then start the gateway";
const NEWER = "use that version, or restore a backup of the database from before it";
const SAME = "what is done depends on which node is asked: give them the same, then reload or restart them";

/** Whether a gateway could work with the database of a storage.url, and what stands in the way. Never rejects. */
export async function examine(url: string, clock: Clock): Promise<Examined> {
  try {
    return await reading(url, clock, async (q) => {
      await identify(q);
      await knownVersion(q);
      return look(q);
    });
  } catch (error) {
    if (error instanceof GatewayError) {
      const advice = error.details?.["found"] === undefined ? ANOTHER : NEWER;
      return { state: "failed", finding: error.message, advice };
    }
    return { state: "failed", finding: describeFailure(error), advice: adviceFor(error) };
  }
}

/** The schema of a database, which may be that of a newer version; 0: none yet, or it cannot be read. Never rejects. */
export async function schemaOf(url: string, clock: Clock): Promise<number> {
  try {
    return await reading(url, clock, knownVersion);
  } catch (error) {
    const { found } = (error instanceof GatewayError ? (error.details ?? {}) : {}) as { found?: number };
    return found ?? 0;
  }
}

async function reading<T>(url: string, clock: Clock, read: (q: Queries) => Promise<T>): Promise<T> {
  const patience = { clock, silence_ms: SILENCE_MS };
  const dial = { url, silence_ms: SILENCE_MS, idle_ms: SILENCE_MS, application_name: "agentbus doctor" };
  const pool = new Pool({ dial, max: 1, ...patience });
  try {
    return await pool.read(read);
  } finally {
    await pool.close();
  }
}

async function look(q: Queries): Promise<Examined> {
  const facts = await q.one<{ version: string; fsync: string; made: boolean; may: boolean }>(
    `SELECT current_setting('server_version') AS version, current_setting('fsync') AS fsync,
       to_regclass($1::text) IS NOT NULL AS made, has_database_privilege(current_database(), 'CREATE') AS may`,
    [`${SCHEMA}.nodes`],
  );
  if (facts === null) return { state: "failed", finding: "it answered nothing", advice: ANOTHER };
  const { version, fsync, made, may } = facts;
  const name = `PostgreSQL ${version}`;
  if (!made && !may) {
    const advice = "GRANT CREATE ON DATABASE … TO its user, for the first start";
    return { state: "failed", finding: `${name}, without a schema, and none may be made`, advice };
  }
  if (await isUnfinished(q)) {
    const advice = "run agentbus migrate again: it goes on where it stopped";
    return { state: "failed", finding: `${name}, into which not all was copied`, advice };
  }
  const durable = fsync === "on" ? null : DURABLE;
  if (!made)
    return durable === null
      ? { state: "ok", finding: `${name}; the first start makes its schema` }
      : { ...durable, finding: `${name}; ${durable.finding}` };
  // The schema of an older version has no facts.
  const nodes = await q.all<{ name: string; facts: string }>(
    `SELECT name, coalesce(to_jsonb(nodes)->>'facts', '{}') AS facts FROM nodes
     WHERE lease_until > clock_timestamp() ORDER BY name`,
  );
  const who = nodes.length === 0 ? "no node runs" : `nodes: ${nodes.map((node) => node.name).join(", ")}`;
  const differing = differences(nodes);
  const wrong = [
    ...(durable === null ? [] : [durable]),
    ...(differing === null ? [] : [{ finding: `its nodes differ in ${differing}`, advice: SAME }]),
  ];
  if (wrong.length === 0) return { state: "ok", finding: `${name}, ${who}` };
  return {
    state: "warning",
    finding: [`${name}, ${who}`, ...wrong.map(({ finding }) => finding)].join("; "),
    advice: wrong.map(({ advice }) => advice).join("; "),
  };
}
