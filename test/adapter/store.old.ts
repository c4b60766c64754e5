import { Database } from "bun:sqlite";
import { join } from "node:path";
import { migrate } from "../../src/store/sqlite/schema.ts";

/** A database as that version of the schema left it, with a session of two messages. */
export function makeOld(data_dir: string, version: number): void {
  const db = new Database(join(data_dir, "agentbus.db"), { create: true });
  db.run("PRAGMA journal_mode = WAL");
  migrate(db, version);
  db.run(`INSERT INTO sessions (session_key, id, owner, name, state, epoch, floor, head, message_count, archived,
    created_at, updated_at, title, title_folded, metadata)
    VALUES (1, 'ses_old', 'ada', 'old', 'live', 'epochold', 0, 2, 2, 0, 1, 1, 'Old', 'old', '{}')`);
  for (const n of [1, 2]) {
    db.run("INSERT INTO events VALUES (1, ?, 1, 'message.created', NULL, '{}')", [n]);
    db.run(
      "INSERT INTO messages (session_key, message_id, seq, role, status, data) VALUES (1, ?, ?, 'user', 'complete', ?)",
      [`msg_${n}`, n, `{"content":"said ${n}"}`],
    );
  }
  db.run("INSERT INTO quotas (user, session_count, key_count) VALUES ('ada', 1, 0)");
  db.close(true);
}
