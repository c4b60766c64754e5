import type { SessionRow } from "../../core/operation.ts";

export type SessionState = "live" | "copying" | "deleting";

/** The columns of `sessions AS s` that make a SessionRow. */
export const SESSION_COLUMNS = `s.id, s.owner, s.name, s.epoch, s.floor::float8 AS floor, s.head::float8 AS head, s.title,
  s.model, s.system_prompt, s.metadata, s.created_at::float8 AS created_at, s.updated_at::float8 AS updated_at,
  s.message_count::float8 AS message_count, s.archived, s.active_run_id`;

/** The columns of `messages` that make a MessageRow. */
export const MESSAGE_COLUMNS = "message_id, seq::float8 AS seq, role, status, data";

/**
 * Bytes of the messages before the one that is before a message: while these fit within a bound it is read, so that of what
 * does not fit one is read, which tells that there are more.
 */
export function bytesUntil(direction: "ASC" | "DESC"): string {
  return `coalesce(sum(octet_length(data)) OVER (ORDER BY seq ${direction}
    ROWS BETWEEN UNBOUNDED PRECEDING AND 2 PRECEDING), 0)`;
}

/** The columns of `events` that make a StoredEvent. */
export const EVENT_COLUMNS = "seq::float8 AS seq, ts::float8 AS ts, type, run_id, payload";

/** As the driver has it, without what it adds. */
export function toSessionRow(row: SessionRow): SessionRow {
  return { ...row };
}

/** A title or a name as `query` is looked for in it. */
export function folded(text: string): string {
  return text.toLowerCase();
}
