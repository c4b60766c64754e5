import type { RowChange, StoreItem } from "../../core/operation.ts";
import type { Holdings, HoldingsChange } from "./holdings.ts";
import { texts } from "./queries.ts";
import type { Work } from "./work.ts";
import type { WorkingSession } from "./working-sessions.ts";

/** Where the sessions of a group are. */
export interface Admission {
  readonly ids: ReadonlySet<string>;
  /** Of these, those that come into memory, or are there. */
  readonly used: ReadonlySet<string>;
  /** Another node has them, or has had them since they were loaded: nothing is done in them. */
  readonly elsewhere: ReadonlySet<string>;
  /** Of these, those that this node had. */
  readonly lost: readonly string[];
}

/**
 * Locks the sessions of a group and takes those that no other node has, but for what only trims them: their rows are locked.
 * Who loads one that was lost has it anew.
 */
export async function admit(
  { sessions }: Work,
  group: readonly StoreItem[],
  holdings: Holdings,
): Promise<Admission> {
  const { ids, loaded, used, written, looked_at } = sessionsOf(group);
  const standings = await sessions.read([...ids], [...looked_at]);
  const elsewhere = new Set<string>();
  const take: WorkingSession[] = [];
  for (const [id, { isOurs, isFree }] of standings) {
    const session = sessions.find(id);
    if (session === null) continue;
    const isCurrent = loaded.has(id) || !holdings.isStale(id, session.fence);
    if (!isCurrent || !(isOurs || isFree)) elsewhere.add(id);
    else if (!isOurs && written.has(id)) take.push(session);
  }
  await sessions.take(take);
  return { ids, used, elsewhere, lost: [...elsewhere].filter((id) => holdings.has(id)) };
}

/** What this node has when the group is committed. */
export function holdingsAfter({ sessions }: Work, { ids, used, elsewhere, lost }: Admission): HoldingsChange {
  const known = [...ids].filter((id) => !elsewhere.has(id));
  const there = known.flatMap((id) => sessions.find(id) ?? []);
  return {
    held: there.filter(({ id }) => used.has(id)),
    kept: there.filter(({ id }) => !used.has(id)),
    gone: known.filter((id) => sessions.find(id) === null),
    lost,
  };
}

function sessionsOf(group: readonly StoreItem[]) {
  const [ids, loaded, used] = [new Set<string>(), new Set<string>(), new Set<string>()];
  const [written, looked_at] = [new Set<string>(), new Set<string>()];
  for (const item of group) {
    if (item.kind === "forget") continue;
    if (item.kind === "load") loaded.add(item.session);
    if (item.kind === "copy") looked_at.add(item.from);
    const id = item.kind === "copy" ? item.into : item.session;
    if (id === null) continue;
    ids.add(id);
    if (item.kind !== "trim") written.add(id);
    if (item.kind === "load" || item.kind === "append") used.add(id);
  }
  return { ids, loaded, used, written, looked_at };
}

/** Locks what is counted of the users who may hold more or less after the group, before anything else is. */
export async function lockUsers({ q, sessions, quotas }: Work, group: readonly StoreItem[]): Promise<void> {
  const users = new Set<string>();
  const uploads: string[] = [];
  const keys: { readonly user: string; readonly key: string }[] = [];
  for (const item of group) {
    const owner = "session" in item && item.session !== null ? sessions.find(item.session)?.owner : undefined;
    if (item.kind === "forget") users.add(item.user);
    if (item.kind === "erase" && owner !== undefined) users.add(owner);
    if (item.kind === "copy") {
      users.add(item.owner);
      if (item.remember !== null) {
        users.add(item.remember.user);
        keys.push(item.remember);
      }
    }
    if (item.kind !== "append") continue;
    for (const row of item.rows) {
      const user = userOf(row);
      if (user !== null) users.add(user);
      if (row.kind === "idempotency") keys.push(row);
      if (row.kind === "upload.done" || row.kind === "upload.drop") uploads.push(row.upload_id);
      if (CHANGES_OWNER.has(row.kind) && owner !== undefined) users.add(owner);
    }
  }
  if (uploads.length > 0) {
    const rows = await q.all<{ username: string }>(
      "SELECT username FROM contents WHERE upload_id = ANY($1::text[]) AND username IS NOT NULL",
      [texts(uploads)],
    );
    for (const { username } of rows) users.add(username);
  }
  await quotas.lock([...users], keys);
}

/** Changes of what the owner of their session holds. */
const CHANGES_OWNER: ReadonlySet<RowChange["kind"]> = new Set([
  "session.close",
  "session.transfer",
  "attachment.use",
] as const);

function userOf(row: RowChange): string | null {
  if (row.kind === "idempotency" || row.kind === "upload.piece") return row.user;
  if (row.kind === "session.create" || row.kind === "session.transfer") return row.owner;
  return null;
}
