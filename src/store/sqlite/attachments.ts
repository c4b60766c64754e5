import type { Database } from "bun:sqlite";
import type { AttachmentChange, AttachmentRow } from "../../core/attachment.ts";
import type { Limits } from "../../core/limits.ts";
import type { Contents } from "./contents.ts";
import { createContents } from "./contents.ts";
import { hold } from "./database.ts";
import type { Quotas, Refused } from "./quotas.ts";
import type { WorkingSession } from "./working-sessions.ts";

interface Kept {
  readonly attachment_id: string;
  readonly content_key: number;
}

/** Files: those that were uploaded, and those that messages name. */
export interface Attachments {
  /** Writes what an upload came to; null, or the rule it breaks. */
  upload(row: Exclude<AttachmentChange, { kind: "attachment.use" }>): Refused | null;
  /** Messages of the session name these uploads from now on. */
  use(session: WorkingSession, row: Extract<AttachmentChange, { kind: "attachment.use" }>): Refused | null;
  /** Null where the owner of a copy may hold what the messages copied may name. */
  checkCopy(from: WorkingSession, owner: string): Refused | null;
  /** What messages of one session name is named by their copies in another. */
  copy(from: WorkingSession, into: WorkingSession, attachment_ids: readonly string[]): void;
  /** The session's files count for another user. */
  transfer(session: WorkingSession, to: string): void;
  /** Erases what a session names, and what nobody else holds of it; what that counts for in rows. */
  erase(session: WorkingSession, max_rows: number): number;
  /** Erases the uploads of a user; the number erased. */
  forget(user: string, max_rows: number): number;
  /** Erases uploads that have expired; what that counts for in rows. */
  expire(now: number, max_rows: number): number;
}

export function createAttachments(db: Database, limits: Limits, quotas: Quotas): Attachments {
  const contents = createContents(db, limits, quotas);
  const uploads = createUploads(db, contents);
  return {
    ...createKept(db, contents, uploads.find),
    upload: (row) => uploads.write(row),
    forget(user, max_rows) {
      contents.abandon(user);
      return uploads.forget(user, max_rows);
    },
    expire(now, max_rows) {
      const expired = uploads.expire(now, max_rows);
      return expired < max_rows ? expired + contents.sweep(now, max_rows - expired) : expired;
    },
  };
}

const COPIED = "attachment_id, content_key, name, media_type, width, height";

/** What messages of sessions name. */
function createKept(
  db: Database,
  contents: Contents,
  find: ReturnType<typeof createUploads>["find"],
): Pick<Attachments, "use" | "checkCopy" | "copy" | "transfer" | "erase"> {
  const into = `INSERT INTO attachments (session_key, ${COPIED}) SELECT ?1, ${COPIED} FROM`;
  const keep = hold(db, `${into} uploads WHERE attachment_id = ?2`);
  const copyOne = hold(
    db,
    `${into} attachments WHERE session_key = ?2 AND attachment_id = ?3 ON CONFLICT DO NOTHING`,
  );
  const some = "SELECT attachment_id, content_key FROM attachments WHERE session_key = ?";
  const one = hold<Kept>(db, `${some} AND attachment_id = ?`);
  const all = hold<Kept>(db, `${some} LIMIT ?`);
  const remove = hold(db, "DELETE FROM attachments WHERE session_key = ? AND attachment_id = ?");
  const more = hold<{ files: number; bytes: number }>(
    db,
    `SELECT (SELECT COUNT(*) FROM attachments WHERE session_key = ?1) AS files, COALESCE(SUM(bytes), 0) AS bytes
     FROM contents WHERE content_key IN (SELECT content_key FROM attachments WHERE session_key = ?1)
       AND content_key NOT IN (SELECT content_key FROM holders WHERE user = ?2)`,
  );

  return {
    use({ session_key, owner }, { user, attachment_ids, at }) {
      for (const attachment_id of attachment_ids) {
        const found = find(attachment_id, user, at);
        if (found === null) return { ok: false, reason: "attachment" };
        const { content_key, bytes } = found;
        if (one.get(session_key, attachment_id) !== null) continue;
        const full = contents.check(owner, 1, contents.isHeld(owner, content_key) ? 0 : bytes);
        if (full !== null) return full;
        keep.run(session_key, attachment_id);
        contents.count(owner, content_key, 1);
      }
      return null;
    },
    checkCopy({ session_key }, owner) {
      const { files, bytes } = more.get(session_key, owner) ?? { files: 0, bytes: 0 };
      return files === 0 ? null : contents.check(owner, files, bytes);
    },
    copy(from, { session_key, owner }, attachment_ids) {
      for (const attachment_id of attachment_ids) {
        if (copyOne.run(session_key, from.session_key, attachment_id).changes === 0) continue;
        const content_key = one.get(session_key, attachment_id)?.content_key;
        if (content_key !== undefined) contents.count(owner, content_key, 1);
      }
    },
    transfer({ session_key, owner }, to) {
      // With the next holder first, so that it is never without one.
      for (const { content_key } of all.all(session_key, -1)) {
        contents.count(to, content_key, 1);
        contents.count(owner, content_key, -1);
      }
    },
    erase({ session_key, owner }, max_rows) {
      const rows = all.all(session_key, max_rows);
      for (const { attachment_id, content_key } of rows) {
        remove.run(session_key, attachment_id);
        contents.count(owner, content_key, -1);
      }
      return rows.length < max_rows ? rows.length + contents.sweep(0, max_rows - rows.length) : max_rows;
    },
  };
}

/** Files that were uploaded and that messages may name for a while. */
function createUploads(db: Database, contents: Contents) {
  const put = hold(
    db,
    `INSERT INTO uploads (attachment_id, user, content_key, name, media_type, width, height, expires_at)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
  );
  const find = hold<{ content_key: number; bytes: number }>(
    db,
    `SELECT u.content_key, c.bytes FROM uploads AS u JOIN contents AS c USING (content_key)
     WHERE u.attachment_id = ? AND u.user = ? AND u.expires_at > ?`,
  );
  const ofUser = hold<Kept & { user: string }>(
    db,
    "SELECT attachment_id, content_key, user FROM uploads WHERE user = ? LIMIT ?",
  );
  const expired = hold<Kept & { user: string }>(
    db,
    "SELECT attachment_id, content_key, user FROM uploads WHERE expires_at <= ? ORDER BY expires_at LIMIT ?",
  );
  const remove = hold(db, "DELETE FROM uploads WHERE attachment_id = ?");
  function removeAll(rows: readonly (Kept & { user: string })[]): number {
    for (const { attachment_id, content_key, user } of rows) {
      remove.run(attachment_id);
      contents.count(user, content_key, -1);
    }
    return rows.length;
  }

  return {
    write(row: Parameters<Attachments["upload"]>[0]): Refused | null {
      if (row.kind === "upload.piece") return contents.receive(row);
      if (row.kind === "upload.drop") {
        contents.drop(row.upload_id);
        return null;
      }
      const kept = contents.complete(row);
      if ("ok" in kept) return kept;
      const { attachment_id, name, media_type, width, height } = row.attachment;
      put.run(attachment_id, kept.user, kept.content_key, name, media_type, width, height, row.expires_at);
      return null;
    },
    find: (attachment_id: string, user: string, now: number) => find.get(attachment_id, user, now),
    forget: (user: string, max_rows: number): number => removeAll(ofUser.all(user, max_rows)),
    expire: (now: number, max_rows: number): number => removeAll(expired.all(now, max_rows)),
  };
}

export function createAttachmentReads(db: Database) {
  const columns = "a.attachment_id, a.name, a.media_type, a.width, a.height, c.bytes, c.sha256";
  const ofUser = hold<AttachmentRow>(
    db,
    `SELECT ${columns} FROM uploads AS a JOIN contents AS c USING (content_key)
     WHERE a.attachment_id IN (SELECT value FROM json_each(?1)) AND a.user = ?2 AND a.expires_at > ?3`,
  );
  const live = "a.session_key = (SELECT session_key FROM sessions WHERE id = ?1 AND state = 'live')";
  const ofSession = hold<AttachmentRow>(
    db,
    `SELECT ${columns} FROM attachments AS a JOIN contents AS c USING (content_key)
     WHERE ${live} AND a.attachment_id = ?2`,
  );
  const piece = hold<{ data: Uint8Array }>(
    db,
    `SELECT p.data FROM attachments AS a JOIN pieces AS p USING (content_key)
     WHERE ${live} AND a.attachment_id = ?2 AND p.n = ?3`,
  );
  return {
    uploads: (user: string, attachment_ids: readonly string[], now: number): AttachmentRow[] =>
      ofUser.all(JSON.stringify(attachment_ids), user, now),
    attachment: (session: string, attachment_id: string): AttachmentRow | null =>
      ofSession.get(session, attachment_id),
    piece: (session: string, attachment_id: string, n: number): Uint8Array | null =>
      piece.get(session, attachment_id, n)?.data ?? null,
  };
}
