import type { RowChange } from "../../core/operation.ts";
import type { Refused } from "./quotas.ts";
import { folded } from "./session-row.ts";
import type { Work } from "./work.ts";
import type { WorkingSession } from "./working-sessions.ts";

type Create = Extract<RowChange, { kind: "session.create" }>;
type Settings = Omit<Create, "kind" | "revive">;

/** A live session, by the rules of session.create; this node has it. */
export async function makeSession(work: Work, id: string, row: Create): Promise<WorkingSession | Refused> {
  const { q, sessions, limits } = work;
  const { owner, name, created_at, revive } = row;
  if (sessions.find(id) !== null) return { ok: false, reason: "exists" };
  if (name === null) return put(work, id, "live", row);
  const since = created_at - limits.tombstone_ttl_secs * 1000;
  const found = await q.one<{ named: boolean; buried: boolean }>(
    `SELECT EXISTS (SELECT 1 FROM sessions WHERE owner = $1::text AND name = $2::text) AS named,
       EXISTS (SELECT 1 FROM tombstones WHERE owner = $1::text AND name = $2::text AND deleted_at > $3::bigint) AS buried`,
    [owner, name, since],
  );
  if (found?.named === true) return { ok: false, reason: "exists" };
  if (!revive && found?.buried === true) return { ok: false, reason: "gone" };
  return put(work, id, "live", row);
}

/** One that is being copied into: it has no name and exists for nobody. */
export function makeCopy(work: Work, id: string, settings: Settings): Promise<WorkingSession | Refused> {
  return put(work, id, "copying", settings);
}

async function put(
  { q, boot, sessions, quotas }: Work,
  id: string,
  state: "live" | "copying",
  settings: Settings,
): Promise<WorkingSession | Refused> {
  const { owner, name, epoch, title, model, system_prompt, metadata, created_at } = settings;
  const full = quotas.checkSession(owner);
  if (full !== null) return full;
  const row = await q.one<{ session_key: number }>(
    `INSERT INTO sessions (id, owner, name, name_folded, state, epoch, owner_boot, fence, floor, head, message_count,
       archived, created_at, updated_at, title, title_folded, model, metadata, system_prompt)
     VALUES ($1::text, $2::text, $3::text, $4::text, $5::text, $6::text, $7::text, 1, 0, 0, 0, false, $8::bigint, $8::bigint,
       $9::text, $10::text, $11::text, $12::text, $13::text)
     ON CONFLICT DO NOTHING RETURNING session_key::float8 AS session_key`,
    [
      id,
      owner,
      name,
      name === null ? null : folded(name),
      state,
      epoch,
      boot,
      created_at,
      title,
      folded(title),
      model,
      metadata,
      system_prompt,
    ],
  );
  if (row === null) return { ok: false, reason: "exists" };
  quotas.countSession(owner, 1);
  const counters = {
    floor: 0,
    head: 0,
    stored_head: 0,
    message_count: 0,
    active_run_id: null,
    fence: 1,
    owner_boot: boot,
  };
  const { session_key } = row;
  return sessions.add({ session_key, id, owner, name, state, epoch, ...counters, updated_at: created_at });
}
