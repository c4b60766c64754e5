import type { Limits } from "../../core/limits.ts";
import type { AuditEntry, AuditRow } from "../../core/operation.ts";
import type { AuditQuery } from "../../core/store.ts";
import type { Queries } from "./queries.ts";

export async function putAudit(q: Queries, entry: AuditEntry): Promise<void> {
  const { ts, action, outcome, user, method, credential, transport, remote } = entry;
  const { client_id, target, details, count } = entry;
  await q.run(
    `INSERT INTO audit (ts, action, outcome, username, method, credential, transport, remote, client_id, target, details, count)
     VALUES ($1::bigint, $2::text, $3::text, $4::text, $5::text, $6::text, $7::text, $8::text, $9::text, $10::text, $11::text,
       $12::bigint)`,
    [ts, action, outcome, user, method, credential, transport, remote, client_id, target, details, count],
  );
}

export function readAudit(
  q: Queries,
  { limit, before, user, action, outcome, since }: AuditQuery,
): Promise<AuditRow[]> {
  return q.all<AuditRow>(
    `SELECT id::float8 AS id, ts::float8 AS ts, action, outcome, username AS "user", method, credential, transport, remote,
       client_id, target, details, count::float8 AS count FROM audit
     WHERE id < $1::bigint AND ts >= $2::bigint AND ($3::text IS NULL OR username = $3::text)
       AND ($4::text IS NULL OR action = $4::text OR starts_with(action, $4::text || '.'))
       AND ($5::text IS NULL OR outcome = $5::text OR ($5::text = 'refused' AND outcome <> 'ok'))
     ORDER BY audit.id DESC LIMIT $6::bigint`,
    [before ?? Number.MAX_SAFE_INTEGER, since ?? 0, user ?? null, action ?? null, outcome ?? null, limit],
  );
}

/** Erases what is too old, then what is too much; the number erased. */
export async function expireAudit(
  q: Queries,
  limits: Limits,
  now: number,
  max_rows: number,
): Promise<number> {
  const aged = await q.run(
    `DELETE FROM audit WHERE id IN
       (SELECT id FROM audit WHERE ts <= $1::bigint ORDER BY ts LIMIT $2::bigint FOR UPDATE SKIP LOCKED)`,
    [now - limits.audit_ttl_secs * 1000, max_rows],
  );
  const all = await q.one<{ rows: number }>("SELECT count(*)::float8 AS rows FROM audit");
  const over = Math.min((all?.rows ?? 0) - limits.audit_rows, max_rows - aged);
  if (over <= 0) return aged;
  const most = await q.run(
    `DELETE FROM audit WHERE id IN (SELECT id FROM audit
       WHERE username = (SELECT username FROM audit GROUP BY username ORDER BY count(*) DESC, username LIMIT 1)
       ORDER BY id LIMIT $1::bigint FOR UPDATE SKIP LOCKED)`,
    [over],
  );
  return aged + most;
}
