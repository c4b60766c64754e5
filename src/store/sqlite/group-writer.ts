import type { Database } from "bun:sqlite";
import type { Limits } from "../../core/limits.ts";
import type { GroupResult, ItemResult, StoreItem } from "../../core/operation.ts";
import { createAppend } from "./append.ts";
import { createAttachments } from "./attachments.ts";
import { createCopy } from "./copy.ts";
import { hold, refusalOf } from "./database.ts";
import { createQuotas } from "./quotas.ts";
import { createSearchIndex } from "./search-words.ts";
import { createSessionMaker } from "./session-maker.ts";
import { createErase, createExpire, createForget, createLoad, createTrim } from "./upkeep.ts";
import { WorkingSessions } from "./working-sessions.ts";

export type Durability = "full" | "normal";
export type Synchronous = "FULL" | "NORMAL";

export interface GroupWriter {
  /** One transaction. Throws where the outcome is unknown. */
  apply(group: readonly StoreItem[]): GroupResult;
  /** One transaction. Throws what SQLite throws, rolled back where storage refused. */
  expire(now: number, max_rows: number): number;
  /** One transaction. Throws what SQLite throws, rolled back where storage refused. */
  index(max_messages: number): number;
  /** Runs `task` in a transaction with this `synchronous`. Throws what `task` and SQLite throw, rolled back where storage refused. */
  transaction<T>(synchronous: Synchronous, task: () => T): T;
}

export function createGroupWriter(db: Database, limits: Limits, durability: Durability): GroupWriter {
  const sessions = new WorkingSessions(db);
  const quotas = createQuotas(db, limits);
  const attachments = createAttachments(db, limits, quotas);
  const append = createAppend(db, limits, sessions, quotas, attachments);
  const load = createLoad(db, sessions);
  const trim = createTrim(db, sessions);
  const search = createSearchIndex(db);
  const erase = createErase(db, sessions, { quotas, attachments, search });
  const maker = createSessionMaker(db, limits, sessions, quotas);
  const copy = createCopy(db, limits, sessions, quotas, maker, attachments);
  const forget = createForget(db, quotas, attachments);
  const expire = createExpire(db, limits, quotas, attachments);
  const begin = hold(db, "BEGIN IMMEDIATE");
  const commit = hold(db, "COMMIT");
  const rollback = hold(db, "ROLLBACK");
  let current: Synchronous | null = null;

  function transaction<T>(synchronous: Synchronous, task: () => T): T {
    if (current !== synchronous) db.run(`PRAGMA synchronous = ${synchronous}`);
    current = synchronous;
    try {
      begin.run();
      const result = task();
      sessions.flush();
      commit.run();
      sessions.committed();
      return result;
    } catch (error) {
      sessions.clear();
      // SQLite may have rolled back by itself already. After any other error nothing is certain: leave it as it is.
      if (refusalOf(error) !== null && db.inTransaction) rollback.run();
      throw error;
    }
  }

  /** What breaks a rule fails alone, and with it what comes after it in the same run. */
  function appendUnless(item: Extract<StoreItem, { kind: "append" }>, failed: Set<string>): ItemResult {
    const { run } = item;
    if (run !== null && failed.has(run)) return { ok: false, reason: "skipped" };
    const result = append(item);
    if (!result.ok && run !== null) failed.add(run);
    return result;
  }

  function applyItem(item: StoreItem, failed: Set<string>): ItemResult {
    switch (item.kind) {
      case "append":
        return appendUnless(item, failed);
      case "load":
        return load(item);
      case "trim":
        return trim(item);
      case "erase":
        return erase(item);
      case "copy":
        return copy(item);
      case "forget":
        return forget(item);
    }
  }

  return {
    apply(group) {
      const failed = new Set<string>();
      const synchronous = durability === "full" && group.some(needsSync) ? "FULL" : "NORMAL";
      return orRefused(() => transaction(synchronous, () => group.map((item) => applyItem(item, failed))));
    },
    expire: (now, max_rows) => transaction("NORMAL", () => expire(now, max_rows)),
    index: (max_messages) => transaction("NORMAL", () => search.index(max_messages)),
    transaction,
  };
}

/** Throws where the outcome is unknown. */
function orRefused(task: () => ItemResult[]): GroupResult {
  try {
    return { ok: true, results: task() };
  } catch (error) {
    const refused = refusalOf(error);
    if (refused === null) throw error;
    return { ok: false, refused };
  }
}

/** A trim that is lost with the power is made again, and a load writes nothing. */
function needsSync(item: StoreItem): boolean {
  return item.kind === "append" ? item.ack : item.kind === "erase" || item.kind === "copy";
}
