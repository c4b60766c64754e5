import type { GroupResult, ItemResult, StoreItem } from "../core/operation.ts";
import type { Clock } from "../core/ports.ts";
import type { OpenedStore, Store } from "../core/store.ts";
import type { Limits } from "../core/limits.ts";
import { GatewayError } from "../protocol/errors.ts";
import { append } from "./memory/append.ts";
import { fileOf, uploadsOf } from "./memory/attachments.ts";
import { auditRows } from "./memory/audit.ts";
import * as reads from "./memory/reads.ts";
import { index, search } from "./memory/search.ts";
import type { MemoryState } from "./memory/state.ts";
import { liveSession, newState, pair, unendedRuns } from "./memory/state.ts";
import { copy, erase, expire, forget, load, trim } from "./memory/upkeep.ts";
import { usageRows } from "./memory/usage.ts";
import { assertGroup, withinTtl } from "./rules.ts";

export interface MemoryStoreOptions {
  readonly clock: Clock;
  readonly limits: Limits;
}

/**
 * A Store that keeps everything in this object and nothing anywhere else. `open()` works again, on the same contents:
 * after `close()` as a clean start, without it as a start after a crash.
 */
export function createMemoryStore({ clock, limits }: MemoryStoreOptions): Store {
  const state = newState();
  let condition: "new" | "open" | "closed" = "new";
  const live = () => {
    if (condition !== "open") throw new GatewayError("UNAVAILABLE", "the store is not open");
    return state;
  };

  return {
    kind: "memory",
    async open() {
      const last_stop = condition === "open" ? "crash" : "clean";
      condition = "open";
      return opened(state, last_stop);
    },
    commit: async (group) => applyGroup(live(), limits, group),
    page: async (session, after, upto) => reads.page(live(), limits, session, after, upto),
    snapshot: async (session, bytes, messages) => reads.snapshot(live(), session, bytes, messages),
    history: async (session, query) => reads.history(live(), session, query),
    context: async (session, limit, bytes) => reads.context(live(), session, limit, bytes),
    runMessages: async (session, run_id) => reads.runMessages(live(), session, run_id),
    session: async (id) => liveSession(live(), id)?.row ?? null,
    named: async (owner, name) => reads.named(live(), limits, clock.now(), owner, name),
    async deleted(id, owner) {
      const tombstone = live().tombstones.get(id);
      return (
        tombstone?.owner === owner && withinTtl(tombstone.deleted_at, limits.tombstone_ttl_secs, clock.now())
      );
    },
    sessions: async (query) => reads.sessions(live(), query),
    archived: async (limit) => reads.archived(live(), limit),
    owners: async () => reads.owners(live()),
    run: async (run_id) => reads.run(live(), run_id),
    runs: async (query) => reads.runs(live(), query),
    async idempotency(user, key) {
      const kept = live().keys.get(pair(user, key));
      return kept !== undefined && withinTtl(kept.created_at, limits.key_ttl_secs, clock.now())
        ? kept.row
        : null;
    },
    async records(collection, owner) {
      const now = clock.now();
      return [...live().records.values()]
        .toSorted((a, b) => a.place - b.place)
        .map(({ row }) => row)
        .filter((row) => row.collection === collection && (owner === undefined || row.owner === owner))
        .filter((row) => row.expires_at === null || row.expires_at > now);
    },
    async record(collection, id) {
      const row = live().records.get(pair(collection, id))?.row;
      return row !== undefined && (row.expires_at === null || row.expires_at > clock.now()) ? row : null;
    },
    uploads: async (user, ids) => uploadsOf(live(), user, ids, clock.now()),
    attachment: async (session, id) => fileOf(live(), session, id)?.row ?? null,
    piece: async (session, id, n) => fileOf(live(), session, id)?.pieces[n] ?? null,
    search: async (query) => search(live(), query),
    index: async (max_messages) => index(live(), max_messages),
    audit: async (query) => auditRows(live().audit, query),
    usage: async (query) => usageRows(live(), query),
    trimmable: async (before, limit) => reads.trimmable(live(), before, limit),
    expire: async (now, max_rows) => expire(live(), limits, now, max_rows),
    totals: async () => reads.totals(live()),
    room: async () => (live(), null),
    scrub: async () => true,
    answers: async () => void live(),
    probe: async () => void live(),
    async close() {
      condition = "closed";
    },
  };
}

function opened(state: MemoryState, last_stop: "clean" | "crash"): OpenedStore {
  for (const [id, session] of state.sessions) {
    if (session.state === "copying") state.sessions.delete(id);
  }
  const all = [...state.sessions.values()];
  return {
    last_stop,
    unended: all
      .filter((session) => session.state === "live")
      .flatMap((session) => unendedRuns(state, session.row.id).map(({ row }) => ({ run: row }))),
    deleting: all.filter((session) => session.state === "deleting").map(({ row }) => row.id),
    server_id: state.server_id,
  };
}

function applyGroup(state: MemoryState, limits: Limits, group: readonly StoreItem[]): GroupResult {
  assertGroup(group);
  const failed = new Set<string>();
  const results = group.map((item): ItemResult => {
    if (item.kind !== "append") return applyUpkeep(state, limits, item);
    if (item.run !== null && failed.has(item.run)) return { ok: false, reason: "skipped" };
    const result = append(state, limits, item);
    if (!result.ok && item.run !== null) failed.add(item.run);
    return result;
  });
  return { ok: true, results };
}

function applyUpkeep(
  state: MemoryState,
  limits: Limits,
  item: Exclude<StoreItem, { kind: "append" }>,
): ItemResult {
  switch (item.kind) {
    case "load":
      return load(state, item);
    case "trim":
      return trim(state, item);
    case "erase":
      return erase(state, item);
    case "copy":
      return copy(state, limits, item);
    case "forget":
      return forget(state, item);
  }
}
