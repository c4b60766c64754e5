import type { Database } from "bun:sqlite";
import type { AttachmentChange } from "../../core/attachment.ts";
import type { Limits } from "../../core/limits.ts";
import { hold } from "./database.ts";
import type { Quotas, Refused } from "./quotas.ts";

type Change<K extends AttachmentChange["kind"]> = Extract<AttachmentChange, { kind: K }>;

const UNKNOWN: Refused = { ok: false, reason: "unknown" };

/** What erasing a piece counts for: a step of an erasure is so many rows. */
const PIECE_ROWS = 50;
const DISCARD_ROWS = 2_000;
/** Of a database that is bounded files take no more than this part, so that messages still find room. */
const PART_FOR_FILES = 0.9;

/** The contents of files, each once, in pieces, and who holds them. */
export interface Contents {
  receive(row: Change<"upload.piece">): Refused | null;
  /** What was received is whole, and held by who uploaded it. */
  complete(row: Change<"upload.done">): { readonly user: string; readonly content_key: number } | Refused;
  drop(upload_id: string): void;
  /** Null where the user may hold so many files with so many bytes more. */
  readonly check: (user: string, files: number, bytes: number) => Refused | null;
  readonly isHeld: (user: string, content_key: number) => boolean;
  /** Counts one file more (1) or less (-1) of a content; the last one of all leaves it to `sweep`. */
  readonly count: (user: string, content_key: number, by: 1 | -1) => void;
  /** What a user was uploading is due at once. */
  abandon(user: string): void;
  /** Erases uploads that were not completed by `now` and contents that nobody holds; what that counts for in rows. */
  readonly sweep: (now: number, max_rows: number) => number;
}

interface Upload {
  readonly content_key: number;
  readonly user: string;
  readonly bytes: number;
  readonly pieces: number;
}

export function createContents(db: Database, limits: Limits, quotas: Quotas): Contents {
  const due = hold(
    db,
    "UPDATE contents SET upload_id = NULL, user = NULL, sha256 = NULL, expires_at = 0 WHERE content_key = ?",
  );
  /** Nothing of it counts for its user any more, and it is due at once. */
  function release({ content_key, user, bytes }: Upload): void {
    quotas.countFiles(user, -1, -bytes);
    due.run(content_key);
  }

  function check(user: string, files: number, bytes: number): Refused | null {
    const held = quotas.filesOf(user);
    if (held.files + files > limits.attachments_per_user)
      return { ok: false, reason: "full", what: "attachments_per_user" };
    if (held.bytes + bytes > limits.attachment_bytes_per_user)
      return { ok: false, reason: "full", what: "attachment_bytes_per_user" };
    return null;
  }

  const holders = createHolders(db, quotas, (content_key) => void due.run(content_key));
  const sweep = createSweep(db, release);
  /** At once, as far as that is a small step: who uploads and gives up again and again fills no disk. */
  const discard = (upload: Upload): void => {
    release(upload);
    sweep(0, DISCARD_ROWS);
  };
  return {
    ...createReceiving(db, { check, discard, quotas, holders }),
    check,
    isHeld: holders.isHeld,
    count: holders.count,
    sweep,
  };
}

interface ReceivingDeps {
  readonly check: Contents["check"];
  readonly discard: (upload: Upload) => void;
  readonly quotas: Quotas;
  readonly holders: Holders;
}

/** What is not whole yet. */
function createReceiving(db: Database, { check, discard, quotas, holders }: ReceivingDeps) {
  const hasRoom = createRoom(db);
  const columns = "content_key, user, bytes, pieces";
  const upload = hold<Upload>(db, `SELECT ${columns} FROM contents WHERE upload_id = ?`);
  const ofUser = hold<Upload>(db, `SELECT ${columns} FROM contents WHERE user = ?`);
  const begin = hold(
    db,
    `INSERT INTO contents (upload_id, user, bytes, pieces, expires_at) VALUES (?, ?, 0, 0, ?)
     ON CONFLICT DO NOTHING`,
  );
  const grow = hold(db, "UPDATE contents SET bytes = bytes + ?, pieces = pieces + 1 WHERE content_key = ?");
  const put = hold(db, "INSERT INTO pieces (content_key, n, data) VALUES (?, ?, ?)");
  const same = hold<{ content_key: number }>(db, "SELECT content_key FROM contents WHERE sha256 = ?");
  const whole = hold(
    db,
    "UPDATE contents SET upload_id = NULL, user = NULL, sha256 = ?, expires_at = NULL WHERE content_key = ?",
  );

  return {
    receive({ upload_id, user, n, data, expires_at }: Change<"upload.piece">): Refused | null {
      const bytes = Buffer.from(data, "base64");
      if (n === 0) begin.run(upload_id, user, expires_at);
      const found = upload.get(upload_id);
      if (found?.pieces !== n) return UNKNOWN;
      const files = n === 0 ? 1 : 0;
      const full = check(user, files, bytes.length);
      if (full !== null) return full;
      if (!hasRoom(bytes.length)) return { ok: false, reason: "full", what: "room" };
      put.run(found.content_key, n, bytes);
      grow.run(bytes.length, found.content_key);
      quotas.countFiles(user, files, bytes.length);
      return null;
    },
    complete({ upload_id, attachment: { sha256, bytes } }: Change<"upload.done">) {
      const found = upload.get(upload_id);
      if (found?.bytes !== bytes) return UNKNOWN;
      const { user } = found;
      const known = same.get(sha256);
      const { content_key } = known ?? found;
      if (known === null) {
        quotas.countFiles(user, -1, -bytes);
        whole.run(sha256, content_key);
      } else discard(found);
      holders.count(user, content_key, 1);
      return { user, content_key };
    },
    drop(upload_id: string): void {
      const found = upload.get(upload_id);
      if (found !== null) discard(found);
    },
    abandon(user: string): void {
      for (const each of ofUser.all(user)) discard(each);
    },
  };
}

/** Whether a bounded database has room for so many bytes of a file. */
function createRoom(db: Database): (bytes: number) => boolean {
  const pragma = (name: string): (() => number) => {
    const read = hold<Record<string, number>>(db, `PRAGMA ${name}`);
    return () => read.get()?.[name] ?? 0;
  };
  const [used, free, most, size] = ["page_count", "freelist_count", "max_page_count", "page_size"].map(
    pragma,
  );
  return (bytes) => {
    const pages = (used?.() ?? 0) - (free?.() ?? 0);
    return pages + bytes / (size?.() || 4096) <= PART_FOR_FILES * (most?.() ?? 0);
  };
}

type Holders = ReturnType<typeof createHolders>;

/** Who holds which content, and how often. */
function createHolders(db: Database, quotas: Quotas, orphaned: (content_key: number) => void) {
  const uses = hold<{ uses: number }>(db, "SELECT uses FROM holders WHERE user = ? AND content_key = ?");
  const change = hold(
    db,
    `INSERT INTO holders (user, content_key, uses) VALUES (?, ?, ?) ON CONFLICT (user, content_key) DO UPDATE
     SET uses = uses + excluded.uses`,
  );
  const remove = hold(db, "DELETE FROM holders WHERE user = ? AND content_key = ?");
  const others = hold<{ user: string }>(db, "SELECT user FROM holders WHERE content_key = ? LIMIT 1");
  const size = hold<{ bytes: number }>(db, "SELECT bytes FROM contents WHERE content_key = ?");
  const usesOf = (user: string, content_key: number): number => uses.get(user, content_key)?.uses ?? 0;

  return {
    isHeld: (user: string, content_key: number): boolean => usesOf(user, content_key) > 0,
    count: (user: string, content_key: number, by: 1 | -1): void => {
      const before = usesOf(user, content_key);
      const after = before + by;
      const turns = before === 0 || after === 0;
      quotas.countFiles(user, by, turns ? by * (size.get(content_key)?.bytes ?? 0) : 0);
      if (after > 0) return void change.run(user, content_key, by);
      remove.run(user, content_key);
      if (others.get(content_key) === null) orphaned(content_key);
    },
  };
}

function createSweep(db: Database, release: (upload: Upload) => void): Contents["sweep"] {
  const next = hold<Omit<Upload, "user"> & { readonly user: string | null }>(
    db,
    `SELECT content_key, user, bytes, pieces FROM contents WHERE expires_at <= ? ORDER BY expires_at LIMIT 1`,
  );
  const erase = hold(
    db,
    "DELETE FROM pieces WHERE rowid IN (SELECT rowid FROM pieces WHERE content_key = ? LIMIT ?)",
  );
  const remove = hold(db, "DELETE FROM contents WHERE content_key = ?");
  return (now, max_rows) => {
    let rows = 0;
    while (rows < max_rows) {
      const found = next.get(now);
      if (found === null) break;
      const { user } = found;
      if (user !== null) release({ ...found, user });
      const most = Math.ceil((max_rows - rows) / PIECE_ROWS);
      const { changes } = erase.run(found.content_key, most);
      rows += changes * PIECE_ROWS + 1;
      if (changes < most) remove.run(found.content_key);
    }
    return rows;
  };
}
