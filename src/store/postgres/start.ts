import type { RunRow } from "../../core/operation.ts";
import type { OpenedStore } from "../../core/store.ts";
import type { Identity } from "./identity.ts";
import { bigints, texts } from "./queries.ts";
import type { Queries } from "./queries.ts";
import { IS_FREE } from "./working-sessions.ts";

/** Sessions that are taken in one transaction. */
const AT_ONCE = 500;

/** What is undone in sessions that this node has: what it does itself, and what nodes that are gone left. */
export type Undone = Pick<OpenedStore, "unended" | "deleting">;

/** Sessions that were taken. */
export interface Adopted {
  readonly count: number;
  /** Those that were being copied into, for nobody any more. */
  readonly copying: readonly string[];
}

/** Whether the database is the one it was; where it is another, or went on without its last writes, epochs are drawn anew. */
export async function settleIdentity(
  q: Queries,
  identity: Identity,
): Promise<{ isSame: boolean; server_id: string }> {
  const text = JSON.stringify(identity);
  await q.run(
    `INSERT INTO meta (name, value) VALUES ('identity', $1::text), ('server_id', $2::text) ON CONFLICT DO NOTHING`,
    [text, crypto.randomUUID()],
  );
  const rows = await q.all<{ name: string; value: string }>(
    "SELECT name, value FROM meta WHERE name IN ('identity', 'server_id') ORDER BY name FOR UPDATE",
  );
  const meta = new Map(rows.map(({ name, value }) => [name, value]));
  const isSame = meta.get("identity") === text;
  if (!isSame) {
    await q.run("UPDATE meta SET value = $1::text WHERE name = 'identity'", [text]);
    // Nobody has them any more: who did knows nothing of this one.
    await q.run(
      `UPDATE sessions SET epoch = left(replace(gen_random_uuid()::text, '-', ''), 8), fence = fence + 1, owner_boot = NULL`,
    );
  }
  return { isSame, server_id: meta.get("server_id") ?? "" };
}

/** How the last process of this data directory stopped: one that did so cleanly left no row. */
export async function lastStop(q: Queries, key: string): Promise<"clean" | "crash"> {
  const left = await q.one("SELECT 1 AS found FROM nodes WHERE node_key = $1::text LIMIT 1", [key]);
  return left === null ? "clean" : "crash";
}

/** Takes the sessions in which something was left undone and that no other node has; called until it finds none. */
export async function adopt(q: Queries, boot: string): Promise<Adopted> {
  const taken = await q.all<{ id: string; state: string }>(
    `UPDATE sessions SET owner_boot = $1::text, fence = fence + 1 WHERE session_key IN (
       SELECT s.session_key FROM sessions AS s
       WHERE s.owner_boot IS DISTINCT FROM $1::text AND ${IS_FREE} AND s.session_key IN (
         SELECT session_key FROM runs WHERE status IN ('queued', 'running')
         UNION SELECT session_key FROM sessions WHERE state <> 'live'
         UNION SELECT a.session_key FROM sessions AS a WHERE a.id IN (SELECT session FROM calls WHERE answer IS NULL))
       ORDER BY s.session_key LIMIT $2::bigint FOR UPDATE OF s SKIP LOCKED)
     RETURNING id, state`,
    [boot, AT_ONCE],
  );
  const copying = taken.filter(({ state }) => state === "copying");
  return { count: taken.length, copying: copying.map(({ id }) => id) };
}

/** Also of what was taken where nobody heard of it, for the connection was lost. */
export async function undone(q: Queries, boot: string): Promise<Undone> {
  const [runs, deleting] = await Promise.all([
    q.all<RunRow>(
      `SELECT r.run_id, s.id AS session, r.status, r.data FROM runs AS r JOIN sessions AS s USING (session_key)
       WHERE r.status IN ('queued', 'running') AND s.owner_boot = $1::text AND s.state = 'live'
       ORDER BY r.session_key, r.first_seq, r.run_id`,
      [boot],
    ),
    q.all<{ id: string }>("SELECT id FROM sessions WHERE state = 'deleting' AND owner_boot = $1::text", [
      boot,
    ]),
  ]);
  return { unended: runs.map((run) => ({ run })), deleting: deleting.map(({ id }) => id) };
}

/**
 * Takes the name of this node off sessions: these, or all `but` some. What a group is writing keeps it, and so does what a run
 * goes on in, for whoever finds that at nobody's ends it.
 */
export async function release(
  q: Queries,
  boot: string,
  sessions: readonly string[] | null,
  but: readonly string[],
): Promise<void> {
  const which = sessions === null ? "s.id <> ALL($2::text[])" : "s.id = ANY($2::text[])";
  const locked = await q.all<{ session_key: number }>(
    `SELECT s.session_key::float8 AS session_key FROM sessions AS s
     WHERE s.owner_boot = $1::text AND ${which} AND s.state = 'live'
     ORDER BY s.session_key FOR UPDATE OF s SKIP LOCKED`,
    [boot, texts(sessions ?? but)],
  );
  if (locked.length === 0) return;
  // Seen once they are locked: a run may have begun since it was found that none goes on.
  await q.run(
    `UPDATE sessions AS s SET owner_boot = NULL WHERE s.session_key = ANY($1::bigint[]) AND NOT EXISTS (
       SELECT 1 FROM runs AS r WHERE r.session_key = s.session_key AND r.status IN ('queued', 'running'))`,
    [bigints(locked.map(({ session_key }) => session_key))],
  );
}
