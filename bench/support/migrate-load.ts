import { join } from "node:path";
import { openWritable } from "../../src/store/sqlite/database.ts";
import { migrate } from "../../src/store/sqlite/schema.ts";

const EVENTS = 240;
const MESSAGES = 60;
const FILE_BYTES = 1024 * 1024;
const PIECE_BYTES = 256 * 1024;

/** Writes the database of a gateway that was stopped: so many sessions of 240 deltas and 60 messages, and so many files of 1 MiB. */
export function writeDatabase(data_dir: string, sessions: number, files: number): void {
  const db = openWritable(join(data_dir, "agentbus.db"), 0);
  db.run("PRAGMA synchronous = OFF");
  migrate(db);
  db.run("BEGIN");
  db.run("INSERT INTO meta (name, value) VALUES ('server_id', 'bench')");
  const session = db.prepare(
    `INSERT INTO sessions (session_key, id, owner, state, epoch, floor, head, message_count, archived, created_at, updated_at,
       title, title_folded, metadata) VALUES (?1, ?2, 'ada', 'live', 'bench001', 0, ?3, ?4, 0, 1, 1, '', '', '{}')`,
  );
  const event = db.prepare(
    "INSERT INTO events VALUES (?, ?, 1763776800000, 'message.delta', 'run_bench', ?)",
  );
  const message = db.prepare(
    "INSERT INTO messages (session_key, message_id, seq, role, status, data) VALUES (?, ?, ?, 'assistant', 'complete', ?)",
  );
  const delta = "some words of an answer, as many as a model says at once ".repeat(2);
  const content = "What was said, in the words of whoever said it. ".repeat(14);
  for (let key = 1; key <= sessions; key++) {
    session.run(key, `ses_${key}`, EVENTS, MESSAGES);
    for (let seq = 1; seq <= EVENTS; seq++)
      event.run(key, seq, JSON.stringify({ message_id: `msg_${key}_1`, part: 0, off: seq * 114, delta }));
    for (let seq = 1; seq <= MESSAGES; seq++)
      message.run(
        key,
        `msg_${key}_${seq}`,
        seq,
        JSON.stringify({ message_id: `msg_${key}_${seq}`, content }),
      );
  }
  const contents = db.prepare(
    "INSERT INTO contents (content_key, sha256, bytes, pieces) VALUES (?, ?, ?, ?)",
  );
  const piece = db.prepare("INSERT INTO pieces (content_key, n, data) VALUES (?, ?, ?)");
  for (let key = 1; key <= files; key++) {
    const bytes = Uint8Array.from({ length: FILE_BYTES }, (_, at) => (at * key) % 251);
    const sha256 = new Bun.CryptoHasher("sha256").update(bytes).digest("hex");
    contents.run(key, sha256, FILE_BYTES, FILE_BYTES / PIECE_BYTES);
    for (let n = 0; n * PIECE_BYTES < FILE_BYTES; n++)
      piece.run(key, n, bytes.subarray(n * PIECE_BYTES, (n + 1) * PIECE_BYTES));
  }
  for (const each of [session, event, message, contents, piece]) each.finalize();
  db.run("COMMIT");
  db.run("PRAGMA wal_checkpoint(TRUNCATE)");
  db.close(true);
}
