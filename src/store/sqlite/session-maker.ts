import type { Database } from "bun:sqlite";
import type { Limits } from "../../core/limits.ts";
import type { RowChange } from "../../core/operation.ts";
import { hold } from "./database.ts";
import type { Quotas, Refused } from "./quotas.ts";
import { folded } from "./session-row.ts";
import type { WorkingSession, WorkingSessions } from "./working-sessions.ts";

type Create = Extract<RowChange, { kind: "session.create" }>;
type Settings = Omit<Create, "kind" | "revive">;

export interface SessionMaker {
  /** A live session, by the rules of session.create. */
  make(id: string, row: Create): WorkingSession | Refused;
  /** One that is being copied into: it has no name and exists for nobody. */
  makeCopy(id: string, settings: Settings): WorkingSession | Refused;
}

export function createSessionMaker(
  db: Database,
  limits: Limits,
  sessions: WorkingSessions,
  quotas: Quotas,
): SessionMaker {
  const named = hold<{ taken: number }>(db, "SELECT 1 AS taken FROM sessions WHERE owner = ? AND name = ?");
  const buried = hold<{ taken: number }>(
    db,
    "SELECT 1 AS taken FROM tombstones WHERE owner = ? AND name = ? AND deleted_at > ? LIMIT 1",
  );
  const insert = hold(
    db,
    `INSERT INTO sessions (id, owner, name, state, epoch, floor, head, message_count, archived, created_at, updated_at,
       title, title_folded, model, metadata, system_prompt)
     VALUES (?, ?, ?, ?, ?, 0, 0, 0, 0, ?, ?, ?, ?, ?, ?, ?)`,
  );

  function put(id: string, state: "live" | "copying", settings: Settings): WorkingSession | Refused {
    const full = quotas.checkSession(settings.owner);
    if (full !== null) return full;
    const { owner, name, epoch, title, model, system_prompt, metadata, created_at } = settings;
    const { lastInsertRowid } = insert.run(
      id,
      owner,
      name,
      state,
      epoch,
      created_at,
      created_at,
      title,
      folded(title),
      model,
      metadata,
      system_prompt,
    );
    quotas.countSession(owner, 1);
    const counters = {
      floor: 0,
      head: 0,
      message_count: 0,
      active_run_id: null,
      updated_at: created_at,
    };
    return sessions.add({
      session_key: Number(lastInsertRowid),
      id,
      owner,
      name,
      state,
      epoch,
      ...counters,
    });
  }

  return {
    make(id, row) {
      const { owner, name, created_at, revive } = row;
      if (sessions.find(id) !== null) return { ok: false, reason: "exists" };
      if (name === null) return put(id, "live", row);
      if (named.get(owner, name) !== null) return { ok: false, reason: "exists" };
      const since = created_at - limits.tombstone_ttl_secs * 1000;
      if (!revive && buried.get(owner, name, since) !== null) return { ok: false, reason: "gone" };
      return put(id, "live", row);
    },
    makeCopy: (id, settings) => put(id, "copying", settings),
  };
}
