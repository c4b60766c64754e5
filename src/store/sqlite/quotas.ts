import type { Database } from "bun:sqlite";
import type { Limits } from "../../core/limits.ts";
import type { IdempotencyRow, ItemResult, RowChange, SessionRow } from "../../core/operation.ts";
import { withinTtl } from "../rules.ts";
import { hold } from "./database.ts";

export type Refused = Extract<ItemResult, { ok: false }>;
/** A request's key as an operation or a copy brings it. */
export type KeyFields = Omit<Extract<RowChange, { kind: "idempotency" }>, "kind">;

/** Expired keys of a user that are made room of at once when the quota is reached. */
const MAKE_ROOM_ROWS = 1_000;

export interface Quotas {
  /** Null where the user may own another session. */
  checkSession(owner: string): Refused | null;
  /** Counts a session in (1) or out (-1). */
  countSession(owner: string, by: 1 | -1): void;
  /** What files a user holds or uploads. */
  filesOf(user: string): { readonly files: number; readonly bytes: number };
  /** Counts files and bytes in or out. */
  countFiles(user: string, files: number, bytes: number): void;
  /** Null where the key is free and the user may hold another one; the prior answer where it is taken. */
  checkKey(fields: KeyFields): Refused | null;
  keep(fields: KeyFields, session: Pick<SessionRow, "id" | "epoch"> | null, seq: number): void;
  /** Erases keys of a user, and what was counted of one who has nothing; the number of keys erased. */
  forget(user: string, max_rows: number): number;
  /** Erases keys made at or before `before`, oldest first; the number erased. */
  expireKeys(before: number, max_rows: number): number;
}

/** What a user holds is counted in `quotas`, never by reading the rows. */
export function createQuotas(db: Database, limits: Limits): Quotas {
  const held = hold<{ session_count: number; key_count: number }>(
    db,
    "SELECT session_count, key_count FROM quotas WHERE user = ?",
  );
  const count = hold(
    db,
    `INSERT INTO quotas (user, session_count, key_count) VALUES (?, ?, ?) ON CONFLICT (user) DO UPDATE
     SET session_count = session_count + excluded.session_count, key_count = key_count + excluded.key_count`,
  );
  const find = hold<IdempotencyRow & { created_at: number }>(
    db,
    "SELECT fingerprint, answer, session, epoch, seq, created_at FROM idempotency WHERE user = ? AND key = ?",
  );
  const put = hold(
    db,
    `INSERT OR REPLACE INTO idempotency (user, key, fingerprint, answer, session, epoch, seq, created_at)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
  );
  const dropOfUser = hold<{ user: string }>(
    db,
    `DELETE FROM idempotency WHERE (user, key) IN
       (SELECT user, key FROM idempotency WHERE user = ? AND created_at <= ? ORDER BY created_at LIMIT ?) RETURNING user`,
  );
  const dropOldest = hold<{ user: string }>(
    db,
    `DELETE FROM idempotency WHERE (user, key) IN
       (SELECT user, key FROM idempotency WHERE created_at <= ? ORDER BY created_at LIMIT ?) RETURNING user`,
  );
  const dropEmpty = createDropEmpty(db);
  const countOut = (dropped: readonly { user: string }[]): number => {
    const by_user = new Map<string, number>();
    for (const { user } of dropped) by_user.set(user, (by_user.get(user) ?? 0) + 1);
    for (const [user, keys] of by_user) count.run(user, 0, -keys);
    return dropped.length;
  };

  return {
    checkSession(owner) {
      const full = (held.get(owner)?.session_count ?? 0) >= limits.sessions_per_user;
      return full ? { ok: false, reason: "full", what: "sessions_per_user" } : null;
    },
    countSession(owner, by) {
      count.run(owner, by, 0);
    },
    ...createFileCounts(db, dropEmpty),
    checkKey({ user, key, created_at }) {
      const row = find.get(user, key);
      if (row !== null && withinTtl(row.created_at, limits.key_ttl_secs, created_at)) {
        const { created_at: _, ...prior } = row;
        return { ok: false, reason: "idempotent", prior };
      }
      const keys = held.get(user)?.key_count ?? 0;
      if (row !== null || keys < limits.keys_per_user) return null;
      const room = countOut(dropOfUser.all(user, created_at - limits.key_ttl_secs * 1000, MAKE_ROOM_ROWS));
      return keys - room < limits.keys_per_user ? null : { ok: false, reason: "full", what: "keys_per_user" };
    },
    keep({ user, key, fingerprint, answer, created_at }, session, seq) {
      if (find.get(user, key) === null) count.run(user, 0, 1);
      put.run(user, key, fingerprint, answer, session?.id ?? null, session?.epoch ?? null, seq, created_at);
    },
    forget(user, max_rows) {
      const dropped = countOut(dropOfUser.all(user, Number.MAX_SAFE_INTEGER, max_rows));
      dropEmpty(user);
      return dropped;
    },
    expireKeys: (before, max_rows) => countOut(dropOldest.all(before, max_rows)),
  };
}

function createDropEmpty(db: Database): (user: string) => void {
  const drop = hold(
    db,
    "DELETE FROM quotas WHERE user = ? AND session_count <= 0 AND key_count <= 0 AND attachment_count <= 0",
  );
  return (user) => void drop.run(user);
}

function createFileCounts(db: Database, dropEmpty: (user: string) => void) {
  const held = hold<{ files: number; bytes: number }>(
    db,
    "SELECT attachment_count AS files, attachment_bytes AS bytes FROM quotas WHERE user = ?",
  );
  const count = hold(
    db,
    `INSERT INTO quotas (user, session_count, key_count, attachment_count, attachment_bytes) VALUES (?, 0, 0, ?, ?)
     ON CONFLICT (user) DO UPDATE SET attachment_count = attachment_count + excluded.attachment_count,
       attachment_bytes = attachment_bytes + excluded.attachment_bytes`,
  );
  return {
    filesOf: (user: string): { files: number; bytes: number } => held.get(user) ?? { files: 0, bytes: 0 },
    countFiles(user: string, files: number, bytes: number): void {
      count.run(user, files, bytes);
      // What is erased behind the deletion of a user leaves nothing of that name.
      if (files < 0) dropEmpty(user);
    },
  };
}
