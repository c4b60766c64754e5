import type { AttachmentChange } from "../../core/attachment.ts";
import type { Limits } from "../../core/limits.ts";
import type { Queries } from "./queries.ts";
import type { Quotas, Refused } from "./quotas.ts";

type Change<K extends AttachmentChange["kind"]> = Extract<AttachmentChange, { kind: K }>;

const UNKNOWN: Refused = { ok: false, reason: "unknown" };

/** What erasing a piece counts for: a step of an erasure is so many rows. */
const PIECE_ROWS = 50;
const DISCARD_ROWS = 2_000;

interface Upload {
  readonly content_key: number;
  readonly username: string;
  readonly bytes: number;
  readonly pieces: number;
}
const UPLOAD =
  "content_key::float8 AS content_key, username, bytes::float8 AS bytes, pieces::float8 AS pieces";

/** The contents of files, each once, in pieces, and who holds them. */
export class Contents {
  readonly #q: Queries;
  readonly #limits: Limits;
  readonly #quotas: Quotas;

  constructor(q: Queries, limits: Limits, quotas: Quotas) {
    this.#q = q;
    this.#limits = limits;
    this.#quotas = quotas;
  }

  async receive({ upload_id, user, n, data, expires_at }: Change<"upload.piece">): Promise<Refused | null> {
    const bytes = Buffer.from(data, "base64");
    if (n === 0) {
      await this.#q.run(
        `INSERT INTO contents (upload_id, username, bytes, pieces, expires_at) VALUES ($1::text, $2::text, 0, 0, $3::bigint)
         ON CONFLICT DO NOTHING`,
        [upload_id, user, expires_at],
      );
    }
    const found = await this.#upload(upload_id);
    if (found?.pieces !== n) return UNKNOWN;
    const files = n === 0 ? 1 : 0;
    const full = this.check(user, files, bytes.length);
    if (full !== null) return full;
    await Promise.all([
      this.#q.run("INSERT INTO pieces (content_key, n, data) VALUES ($1::bigint, $2::bigint, $3::bytea)", [
        found.content_key,
        n,
        bytes,
      ]),
      this.#q.run(
        "UPDATE contents SET bytes = bytes + $1::bigint, pieces = pieces + 1 WHERE content_key = $2::bigint",
        [bytes.length, found.content_key],
      ),
    ]);
    this.#quotas.countFiles(user, files, bytes.length);
    return null;
  }

  /** What was received is whole, and held by who uploaded it. */
  async complete({
    upload_id,
    attachment: { sha256, bytes },
  }: Change<"upload.done">): Promise<{ readonly user: string; readonly content_key: number } | Refused> {
    const found = await this.#upload(upload_id);
    if (found?.bytes !== bytes) return UNKNOWN;
    const { username: user } = found;
    await this.#quotas.lock([user]);
    const known = await this.#q.one<{ content_key: number }>(
      "SELECT content_key::float8 AS content_key FROM contents WHERE sha256 = $1::text FOR UPDATE",
      [sha256],
    );
    const { content_key } = known ?? found;
    if (known === null) {
      this.#quotas.countFiles(user, -1, -bytes);
      await this.#q.run(
        "UPDATE contents SET upload_id = NULL, username = NULL, sha256 = $1::text, expires_at = NULL WHERE content_key = $2::bigint",
        [sha256, content_key],
      );
    } else await this.#discard(found);
    await this.count(user, content_key, 1);
    return { user, content_key };
  }

  async drop(upload_id: string): Promise<void> {
    const found = await this.#upload(upload_id);
    if (found !== null) await this.#discard(found);
  }

  /** What a user was uploading is due at once. */
  async abandon(user: string): Promise<void> {
    const all = await this.#q.all<Upload>(`SELECT ${UPLOAD} FROM contents WHERE username = $1::text`, [user]);
    for (const each of all) await this.#discard(each);
  }

  /** Null where the user may hold so many files with so many bytes more. */
  check(user: string, files: number, bytes: number): Refused | null {
    const held = this.#quotas.filesOf(user);
    if (held.files + files > this.#limits.attachments_per_user)
      return { ok: false, reason: "full", what: "attachments_per_user" };
    if (held.bytes + bytes > this.#limits.attachment_bytes_per_user)
      return { ok: false, reason: "full", what: "attachment_bytes_per_user" };
    return null;
  }

  async isHeld(user: string, content_key: number): Promise<boolean> {
    return (await this.#usesOf(user, content_key)).uses > 0;
  }

  /** Counts one file more (1) or less (-1) of a content; the last one of all leaves it to `sweep`. */
  async count(user: string, content_key: number, by: 1 | -1): Promise<void> {
    await this.#quotas.lock([user]);
    const { uses, bytes } = await this.#usesOf(user, content_key);
    const turns = uses === 0 || uses + by === 0;
    this.#quotas.countFiles(user, by, turns ? by * bytes : 0);
    if (uses + by > 0) {
      await this.#q.run(
        `INSERT INTO holders AS h (username, content_key, uses) VALUES ($1::text, $2::bigint, $3::bigint)
         ON CONFLICT (username, content_key) DO UPDATE SET uses = h.uses + excluded.uses`,
        [user, content_key, by],
      );
      return;
    }
    await this.#q.run("DELETE FROM holders WHERE username = $1::text AND content_key = $2::bigint", [
      user,
      content_key,
    ]);
    // Its row is locked: whoever begins to hold it comes before, or finds that it is not there.
    await this.#q.run(
      `UPDATE contents SET upload_id = NULL, username = NULL, sha256 = NULL, expires_at = 0 WHERE content_key = $1::bigint
         AND NOT EXISTS (SELECT 1 FROM holders WHERE content_key = $1::bigint)`,
      [content_key],
    );
  }

  /** Erases uploads that were not completed by `now` and contents that nobody holds; what that counts for in rows. */
  async sweep(now: number, max_rows: number): Promise<number> {
    let rows = 0;
    while (rows < max_rows) {
      const found = await this.#q.one<Omit<Upload, "username"> & { readonly username: string | null }>(
        `SELECT ${UPLOAD} FROM contents AS c WHERE c.expires_at <= $1::bigint ORDER BY c.expires_at LIMIT 1
         FOR UPDATE SKIP LOCKED`,
        [now],
      );
      if (found === null) break;
      const { username, content_key } = found;
      if (username !== null) await this.#release({ ...found, username });
      const most = Math.ceil((max_rows - rows) / PIECE_ROWS);
      const erased = await this.#q.run(
        `DELETE FROM pieces WHERE content_key = $1::bigint AND n IN
           (SELECT n FROM pieces WHERE content_key = $1::bigint LIMIT $2::bigint)`,
        [content_key, most],
      );
      rows += erased * PIECE_ROWS + 1;
      if (erased < most)
        await this.#q.run("DELETE FROM contents WHERE content_key = $1::bigint", [content_key]);
    }
    return rows;
  }

  #upload(upload_id: string): Promise<Upload | null> {
    return this.#q.one(`SELECT ${UPLOAD} FROM contents WHERE upload_id = $1::text FOR UPDATE`, [upload_id]);
  }

  async #usesOf(user: string, content_key: number): Promise<{ uses: number; bytes: number }> {
    const found = await this.#q.one<{ uses: number; bytes: number }>(
      `SELECT c.bytes::float8 AS bytes, coalesce((SELECT h.uses FROM holders AS h
         WHERE h.username = $1::text AND h.content_key = c.content_key), 0)::float8 AS uses
       FROM contents AS c WHERE c.content_key = $2::bigint FOR UPDATE`,
      [user, content_key],
    );
    return found ?? { uses: 0, bytes: 0 };
  }

  /** Nothing of it counts for its user any more, and it is due at once. */
  async #release({ content_key, username, bytes }: Upload): Promise<void> {
    await this.#quotas.lock([username]);
    this.#quotas.countFiles(username, -1, -bytes);
    await this.#q.run(
      "UPDATE contents SET upload_id = NULL, username = NULL, sha256 = NULL, expires_at = 0 WHERE content_key = $1::bigint",
      [content_key],
    );
  }

  /** At once, as far as that is a small step: who uploads and gives up again and again fills no disk. */
  async #discard(upload: Upload): Promise<void> {
    await this.#release(upload);
    await this.sweep(0, DISCARD_ROWS);
  }
}
