import type { AttachmentChange, AttachmentRow } from "../../core/attachment.ts";
import type { Limits } from "../../core/limits.ts";
import { Contents } from "./contents.ts";
import { texts } from "./queries.ts";
import type { Queries } from "./queries.ts";
import type { Quotas, Refused } from "./quotas.ts";
import type { WorkingSession } from "./working-sessions.ts";

interface Kept {
  readonly attachment_id: string;
  readonly content_key: number;
}
const KEPT = "attachment_id, content_key::float8 AS content_key";
const COPIED = "attachment_id, content_key, name, media_type, width, height";

/** Files: those that were uploaded, and those that messages name. */
export class Attachments {
  readonly #q: Queries;
  readonly #quotas: Quotas;
  readonly #contents: Contents;

  constructor(q: Queries, limits: Limits, quotas: Quotas) {
    this.#q = q;
    this.#quotas = quotas;
    this.#contents = new Contents(q, limits, quotas);
  }

  /** Writes what an upload came to; null, or the rule it breaks. */
  async upload(row: Exclude<AttachmentChange, { kind: "attachment.use" }>): Promise<Refused | null> {
    if (row.kind === "upload.piece") return this.#contents.receive(row);
    if (row.kind === "upload.drop") {
      await this.#contents.drop(row.upload_id);
      return null;
    }
    const kept = await this.#contents.complete(row);
    if ("ok" in kept) return kept;
    const { attachment_id, name, media_type, width, height } = row.attachment;
    await this.#q.run(
      `INSERT INTO uploads (username, expires_at, ${COPIED})
       VALUES ($1::text, $2::bigint, $3::text, $4::bigint, $5::text, $6::text, $7::bigint, $8::bigint)`,
      [kept.user, row.expires_at, attachment_id, kept.content_key, name, media_type, width, height],
    );
    return null;
  }

  /** Messages of the session name these uploads from now on. */
  async use(
    { session_key, owner }: WorkingSession,
    { user, attachment_ids, at }: Extract<AttachmentChange, { kind: "attachment.use" }>,
  ): Promise<Refused | null> {
    for (const attachment_id of attachment_ids) {
      const found = await this.#q.one<{ content_key: number; bytes: number; isNamed: boolean }>(
        `SELECT u.content_key::float8 AS content_key, c.bytes::float8 AS bytes, EXISTS (SELECT 1 FROM attachments AS a
           WHERE a.session_key = $4::bigint AND a.attachment_id = u.attachment_id) AS "isNamed"
         FROM uploads AS u JOIN contents AS c USING (content_key)
         WHERE u.attachment_id = $1::text AND u.username = $2::text AND u.expires_at > $3::bigint FOR UPDATE`,
        [attachment_id, user, at, session_key],
      );
      if (found === null) return { ok: false, reason: "attachment" };
      const { content_key, bytes, isNamed } = found;
      if (isNamed) continue;
      const isHeld = await this.#contents.isHeld(owner, content_key);
      const full = this.#contents.check(owner, 1, isHeld ? 0 : bytes);
      if (full !== null) return full;
      await this.#q.run(
        `INSERT INTO attachments (session_key, ${COPIED}) SELECT $1::bigint, ${COPIED} FROM uploads WHERE attachment_id = $2::text`,
        [session_key, attachment_id],
      );
      await this.#contents.count(owner, content_key, 1);
    }
    return null;
  }

  /** Null where the owner of a copy may hold what the messages copied may name. */
  async checkCopy({ session_key }: WorkingSession, owner: string): Promise<Refused | null> {
    const more = await this.#q.one<{ files: number; bytes: number }>(
      `WITH named AS (SELECT content_key FROM attachments WHERE session_key = $1::bigint)
       SELECT (SELECT count(*) FROM named)::float8 AS files, coalesce(sum(bytes), 0)::float8 AS bytes FROM contents
       WHERE content_key IN (SELECT content_key FROM named)
         AND content_key NOT IN (SELECT content_key FROM holders WHERE username = $2::text)`,
      [session_key, owner],
    );
    const { files, bytes } = more ?? { files: 0, bytes: 0 };
    return files === 0 ? null : this.#contents.check(owner, files, bytes);
  }

  /** What messages of one session name is named by their copies in another. */
  async copy(
    from: WorkingSession,
    { session_key, owner }: WorkingSession,
    attachment_ids: readonly string[],
  ): Promise<void> {
    for (const attachment_id of attachment_ids) {
      const named = await this.#q.one<{ content_key: number }>(
        `INSERT INTO attachments (session_key, ${COPIED}) SELECT $1::bigint, ${COPIED} FROM attachments
         WHERE session_key = $2::bigint AND attachment_id = $3::text
         ON CONFLICT DO NOTHING RETURNING content_key::float8 AS content_key`,
        [session_key, from.session_key, attachment_id],
      );
      if (named !== null) await this.#contents.count(owner, named.content_key, 1);
    }
  }

  /** The session's files count for another user. */
  async transfer(session_key: number, owner: string, to: string): Promise<void> {
    const all = await this.#q.all<Kept>(`SELECT ${KEPT} FROM attachments WHERE session_key = $1::bigint`, [
      session_key,
    ]);
    // With the next holder first, so that it is never without one.
    for (const { content_key } of all) {
      await this.#contents.count(to, content_key, 1);
      await this.#contents.count(owner, content_key, -1);
    }
  }

  /** Erases what a session names, and what nobody else holds of it; what that counts for in rows. */
  async erase({ session_key, owner }: WorkingSession, max_rows: number): Promise<number> {
    const rows = await this.#q.all<Kept>(
      `DELETE FROM attachments WHERE session_key = $1::bigint AND attachment_id IN
         (SELECT attachment_id FROM attachments WHERE session_key = $1::bigint LIMIT $2::bigint) RETURNING ${KEPT}`,
      [session_key, max_rows],
    );
    for (const { content_key } of rows) await this.#contents.count(owner, content_key, -1);
    if (rows.length >= max_rows) return max_rows;
    return rows.length + (await this.#contents.sweep(0, max_rows - rows.length));
  }

  /** Erases the uploads of a user; the number erased. */
  async forget(user: string, max_rows: number): Promise<number> {
    await this.#contents.abandon(user);
    return this.#removeUploads("username = $2::text", [max_rows, user]);
  }

  /** Erases uploads that have expired; what that counts for in rows. */
  async expire(now: number, max_rows: number): Promise<number> {
    const expired = await this.#removeUploads("expires_at <= $2::bigint ORDER BY expires_at", [
      max_rows,
      now,
    ]);
    if (expired >= max_rows) return expired;
    return expired + (await this.#contents.sweep(now, max_rows - expired));
  }

  async #removeUploads(which: string, values: readonly [number, string | number]): Promise<number> {
    const rows = await this.#q.all<Kept & { username: string }>(
      `DELETE FROM uploads WHERE attachment_id IN
         (SELECT attachment_id FROM uploads WHERE ${which} LIMIT $1::bigint FOR UPDATE SKIP LOCKED) RETURNING ${KEPT}, username`,
      values,
    );
    await this.#quotas.lock(rows.map(({ username }) => username));
    for (const { content_key, username } of rows) await this.#contents.count(username, content_key, -1);
    return rows.length;
  }
}

const FILE = `a.attachment_id, a.name, a.media_type, a.width::float8 AS width, a.height::float8 AS height,
  c.bytes::float8 AS bytes, c.sha256`;
const LIVE = "a.session_key = (SELECT session_key FROM sessions WHERE id = $1::text AND state = 'live')";

export function readUploads(
  q: Queries,
  user: string,
  attachment_ids: readonly string[],
  now: number,
): Promise<AttachmentRow[]> {
  return q.all<AttachmentRow>(
    `SELECT ${FILE} FROM uploads AS a JOIN contents AS c USING (content_key)
     WHERE a.attachment_id = ANY($1::text[]) AND a.username = $2::text AND a.expires_at > $3::bigint`,
    [texts(attachment_ids), user, now],
  );
}

export async function readAttachment(
  q: Queries,
  session: string,
  attachment_id: string,
): Promise<AttachmentRow | null> {
  return q.one<AttachmentRow>(
    `SELECT ${FILE} FROM attachments AS a JOIN contents AS c USING (content_key) WHERE ${LIVE} AND a.attachment_id = $2::text`,
    [session, attachment_id],
  );
}

export async function readPiece(
  q: Queries,
  session: string,
  attachment_id: string,
  n: number,
): Promise<Uint8Array | null> {
  const found = await q.one<{ data: Uint8Array }>(
    `SELECT p.data FROM attachments AS a JOIN pieces AS p USING (content_key)
     WHERE ${LIVE} AND a.attachment_id = $2::text AND p.n = $3::bigint`,
    [session, attachment_id, n],
  );
  return found?.data ?? null;
}
