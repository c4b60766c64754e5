import type { SessionRow } from "../../core/operation.ts";

export type SessionState = "live" | "copying" | "deleting";

/** The columns of `sessions AS s` that make a SessionRow. */
export const SESSION_COLUMNS = `s.id, s.owner, s.name, s.epoch, s.floor, s.head, s.title, s.model, s.system_prompt,
  s.metadata, s.created_at, s.updated_at, s.message_count, s.archived, s.active_run_id`;

export interface SessionColumns extends Omit<SessionRow, "archived"> {
  readonly archived: number;
}

export function toSessionRow(columns: SessionColumns): SessionRow {
  return { ...columns, archived: columns.archived !== 0 };
}

/** A title as `query` is looked for in it. */
export function folded(title: string): string {
  return title.toLowerCase();
}
