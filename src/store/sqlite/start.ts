import type { Database } from "bun:sqlite";
import { newEpoch } from "../../core/id.ts";
import type { RunRow } from "../../core/operation.ts";
import type { OpenedStore } from "../../core/store.ts";
import type { Durability, GroupWriter } from "./group-writer.ts";

export interface StartFacts {
  /** Changes with every start of the machine; null where it cannot be read. */
  readonly boot_id: string | null;
  readonly pid: number;
  readonly durability: Durability;
  /** The process before this one left word that the outcome of its last write is not known. */
  readonly suspect: boolean;
}

/** `meta.running`: there from before the first write to after the last checkpoint of a process. */
interface Marker extends Pick<StartFacts, "boot_id" | "pid" | "durability"> {}

/** In `meta`: the file was restored from a backup. */
export const RESTORED = "restored";

/** Rows of an unfinished copy that are erased in one transaction. */
const ERASE_ROWS = 2_000;

/** Decides how the last process stopped, draws new epochs where what it wrote may be lost, and marks this one as running. */
export function start(db: Database, writer: GroupWriter, facts: StartFacts): OpenedStore {
  const { last_stop, server_id } = writer.transaction("FULL", () => {
    const left = readMarker(db);
    const restored = readMeta(db, RESTORED) !== null;
    // A backup is made while a gateway runs: its marker says nothing of a process that stopped.
    const stop = restored ? "clean" : lastStop(left, facts);
    if (restored) db.query("DELETE FROM meta WHERE name = ?").run(RESTORED);
    if (restored) drawEpochs(db, false);
    else if (stop === "power") drawEpochs(db, left?.durability === "full");
    const { boot_id, pid, durability } = facts;
    writeMeta(db, "running", JSON.stringify({ boot_id, pid, durability } satisfies Marker));
    return { last_stop: stop, server_id: readMeta(db, "server_id") ?? makeServerId(db) };
  });
  eraseCopies(db, writer);
  return { last_stop, unended: unendedRuns(db), deleting: sessionsIn(db, "deleting"), server_id };
}

/** Says that everything is in the database file. Call after the last checkpoint. */
export function markStopped(db: Database, writer: GroupWriter): void {
  writer.transaction("FULL", () => db.run("DELETE FROM meta WHERE name = 'running'"));
}

function lastStop(left: Marker | null, { boot_id, suspect }: StartFacts): OpenedStore["last_stop"] {
  if (suspect) return "power";
  if (left === null) return "clean";
  return left.boot_id !== null && left.boot_id === boot_id ? "crash" : "power";
}

/**
 * With durability full only a run that had not ended can have events without an fsync; the marker of the process that
 * wrote them says what it was. Otherwise every session may have lost some.
 */
function drawEpochs(db: Database, was_full: boolean): void {
  const where = was_full
    ? "WHERE session_key IN (SELECT session_key FROM runs WHERE status IN ('queued', 'running'))"
    : "";
  const keys = db.query<{ session_key: number }, []>(`SELECT session_key FROM sessions ${where}`).all();
  const update = db.prepare("UPDATE sessions SET epoch = ? WHERE session_key = ?");
  for (const { session_key } of keys) update.run(newEpoch(), session_key);
  update.finalize();
}

/** A copy that was cut short exists for nobody, and nobody will finish it. */
function eraseCopies(db: Database, writer: GroupWriter): void {
  for (const session of sessionsIn(db, "copying")) {
    for (;;) {
      const answer = writer.apply([{ kind: "erase", session, max_rows: ERASE_ROWS }]);
      if (!answer.ok) throw new Error(`storage refuses writes: ${answer.refused}`);
      const [result] = answer.results;
      if (result?.ok === true && "done" in result && result.done) break;
    }
  }
}

function unendedRuns(db: Database): OpenedStore["unended"] {
  return db
    .query<RunRow, []>(
      `SELECT r.run_id, s.id AS session, r.status, r.data FROM runs AS r JOIN sessions AS s USING (session_key)
       WHERE r.status IN ('queued', 'running') AND s.state = 'live' ORDER BY s.session_key, r.first_seq, r.run_id`,
    )
    .all()
    .map((run) => ({ run }));
}

function sessionsIn(db: Database, state: "copying" | "deleting"): string[] {
  const rows = db
    .query<{ id: string }, [string]>("SELECT id FROM sessions WHERE state <> 'live' AND state = ?")
    .all(state);
  return rows.map(({ id }) => id);
}

function readMarker(db: Database): Marker | null {
  const text = readMeta(db, "running");
  return text === null ? null : (JSON.parse(text) as Marker);
}

function makeServerId(db: Database): string {
  const server_id = crypto.randomUUID();
  writeMeta(db, "server_id", server_id);
  return server_id;
}

function readMeta(db: Database, name: string): string | null {
  return (
    db.query<{ value: string }, [string]>("SELECT value FROM meta WHERE name = ?").get(name)?.value ?? null
  );
}

function writeMeta(db: Database, name: string, value: string): void {
  db.query("INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)").run(name, value);
}
