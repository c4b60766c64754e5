import type { Database } from "bun:sqlite";
import type { Limits } from "../../core/limits.ts";
import type { AuditEntry, AuditRow } from "../../core/operation.ts";
import type { AuditQuery } from "../../core/store.ts";
import { hold } from "./database.ts";

const COLUMNS =
  "ts, action, outcome, user, method, credential, transport, remote, client_id, target, details, count";

export function createAuditWriter(db: Database): (entry: AuditEntry) => void {
  const insert = hold(db, `INSERT INTO audit (${COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`);
  return ({ ts, action, outcome, user, method, credential, transport, remote, ...more }) => {
    const { client_id, target, details, count } = more;
    insert.run(
      ts,
      action,
      outcome,
      user,
      method,
      credential,
      transport,
      remote,
      client_id,
      target,
      details,
      count,
    );
  };
}

export function createAuditReads(db: Database) {
  const list = hold<AuditRow>(
    db,
    `SELECT id, ${COLUMNS} FROM audit
     WHERE id < ?1 AND ts >= ?2 AND (?3 IS NULL OR user = ?3)
       AND (?4 IS NULL OR action = ?4 OR substr(action, 1, length(?4) + 1) = ?4 || '.')
       AND (?5 IS NULL OR outcome = ?5 OR (?5 = 'refused' AND outcome <> 'ok'))
     ORDER BY id DESC LIMIT ?6`,
  );
  return {
    audit: ({ limit, before, user, action, outcome, since }: AuditQuery): AuditRow[] =>
      list.all(
        before ?? Number.MAX_SAFE_INTEGER,
        since ?? 0,
        user ?? null,
        action ?? null,
        outcome ?? null,
        limit,
      ),
  };
}

/** Erases what is too old, then what is too much; the number erased. */
export function createAuditExpire(db: Database, limits: Limits): (now: number, max_rows: number) => number {
  const old = hold(
    db,
    "DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE ts <= ? ORDER BY ts LIMIT ?)",
  );
  const all = hold<{ rows: number }>(db, "SELECT COUNT(*) AS rows FROM audit");
  const oldestOfMost = hold(
    db,
    `DELETE FROM audit WHERE id IN (
       SELECT id FROM audit
       WHERE user = (SELECT user FROM audit GROUP BY user ORDER BY COUNT(*) DESC, user LIMIT 1) ORDER BY id LIMIT ?)`,
  );
  return (now, max_rows) => {
    const aged = old.run(now - limits.audit_ttl_secs * 1000, max_rows).changes;
    const over = Math.min((all.get()?.rows ?? 0) - limits.audit_rows, max_rows - aged);
    return over > 0 ? aged + oldestOfMost.run(over).changes : aged;
  };
}
