import type { Database } from "bun:sqlite";
import type { RecordChange } from "../../core/record.ts";
import { isChanged } from "../rules.ts";
import { hold } from "./database.ts";
import type { Refused } from "./quotas.ts";
import type { WorkingSessions } from "./working-sessions.ts";

/** Writes records; null, or that one is not what it was taken for. */
export function createRecords(
  db: Database,
  sessions: WorkingSessions,
): (row: RecordChange) => Refused | null {
  const putRecord = hold(
    db,
    `INSERT INTO records (collection, id, owner, data, expires_at) VALUES (?, ?, ?, ?, ?)
     ON CONFLICT (collection, id) DO UPDATE
     SET owner = excluded.owner, data = excluded.data, expires_at = excluded.expires_at`,
  );
  const dropRecord = hold(db, "DELETE FROM records WHERE collection = ? AND id = ?");
  const dataOf = hold<{ data: string }>(db, "SELECT data FROM records WHERE collection = ? AND id = ?");

  return (row) => {
    const { collection, id } = row.kind === "record.drop" ? row : row.record;
    const there = dataOf.get(collection, id)?.data ?? null;
    const head = "at" in row && row.at !== undefined ? (sessions.find(row.at.session)?.head ?? null) : null;
    if (isChanged(row, there, head)) return { ok: false, reason: "changed" };
    if (row.kind === "record.drop") dropRecord.run(collection, id);
    else if (row.kind === "record.put" || there === null) {
      const { owner, data, expires_at } = row.record;
      putRecord.run(collection, id, owner, data, expires_at);
    }
    return null;
  };
}
