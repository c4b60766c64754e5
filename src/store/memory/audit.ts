import type { Limits } from "../../core/limits.ts";
import type { AuditEntry, AuditRow } from "../../core/operation.ts";
import type { AuditQuery } from "../../core/store.ts";
import { isAction, withinTtl } from "../rules.ts";
import type { MemoryAudit } from "./state.ts";

/** What takes it back. */
export function keepAudit(audit: MemoryAudit, entry: AuditEntry): () => void {
  const row = { id: ++audit.last_id, ...entry };
  audit.rows.push(row);
  return () => void audit.rows.splice(audit.rows.indexOf(row), 1);
}

export function auditRows({ rows }: MemoryAudit, query: AuditQuery): AuditRow[] {
  const { limit, before = Number.MAX_SAFE_INTEGER, user, action, outcome, since = 0 } = query;
  return rows
    .filter((row) => row.id < before && row.ts >= since)
    .filter((row) => user === undefined || row.user === user)
    .filter((row) => action === undefined || isAction(row.action, action))
    .filter(
      (row) =>
        outcome === undefined || row.outcome === outcome || (outcome === "refused" && row.outcome !== "ok"),
    )
    .toReversed()
    .slice(0, limit);
}

/** Erases what is too old, then what is too much; the number erased. */
export function expireAudit(audit: MemoryAudit, limits: Limits, now: number, max_rows: number): number {
  const aged = audit.rows.filter(({ ts }) => !withinTtl(ts, limits.audit_ttl_secs, now)).slice(0, max_rows);
  drop(audit, aged);
  const over = Math.min(audit.rows.length - limits.audit_rows, max_rows - aged.length);
  if (over <= 0) return aged.length;
  const [most = []] = [...Map.groupBy(audit.rows, ({ user }) => user)]
    .toSorted(([a, some], [b, others]) => others.length - some.length || (a < b ? -1 : 1))
    .map(([, rows]) => rows);
  const dropped = most.slice(0, over);
  drop(audit, dropped);
  return aged.length + dropped.length;
}

function drop(audit: MemoryAudit, rows: readonly AuditRow[]): void {
  const gone = new Set(rows);
  audit.rows = audit.rows.filter((row) => !gone.has(row));
}
