import type { Limits } from "../../core/limits.ts";
import type { GroupResult, ItemResult, StoreItem } from "../../core/operation.ts";
import { append } from "./append.ts";
import { copy } from "./copy.ts";
import { isConflict, refusalOf } from "./failures.ts";
import { admit, holdingsAfter, lockUsers } from "./group-locks.ts";
import type { Holdings } from "./holdings.ts";
import { erase, forget, load, trim } from "./upkeep.ts";
import type { Work } from "./work.ts";
import { flush, newWork } from "./work.ts";
import type { Writing } from "./writing.ts";

/** How often a group that was in another's way is tried at once; then storage is busy, and the journal tries again later. */
const TRIES = 5;

export interface GroupWriter {
  /** One transaction. Throws where the outcome is unknown. */
  apply(group: readonly StoreItem[]): Promise<GroupResult>;
}

export interface GroupWriterOptions {
  readonly writing: Writing;
  readonly limits: Limits;
  readonly boot: string;
  readonly holdings: Holdings;
  /** Whether the lease of this node lasts: nothing is written without it. */
  readonly mayWrite: () => boolean;
  /** Sessions that this node had are another's. */
  readonly onFenced: (sessions: readonly string[]) => void;
  /** Sessions whose log grew. */
  readonly onGrown: (sessions: Iterable<string>) => void;
}

export function createGroupWriter({
  writing,
  limits,
  boot,
  holdings,
  mayWrite,
  onFenced,
  onGrown,
}: GroupWriterOptions): GroupWriter {
  async function attempt(group: readonly StoreItem[]): Promise<ItemResult[]> {
    const { results, change } = await writing.transaction(async (q) => {
      const work = newWork(q, limits, boot);
      const admission = await admit(work, group, holdings);
      await lockUsers(work, group);
      const answers = await applyAll(work, group, admission.elsewhere);
      await flush(work);
      return { results: answers, change: holdingsAfter(work, admission) };
    });
    holdings.note(change);
    if (change.lost.length > 0) onFenced(change.lost);
    onGrown(grownIn(group, results));
    return results;
  }

  return {
    async apply(group) {
      for (let tries = 1; ; tries++) {
        if (!mayWrite()) return { ok: false, refused: "lease" };
        try {
          return { ok: true, results: await attempt(group) };
        } catch (error) {
          if (isConflict(error) && tries < TRIES) continue;
          const refused = refusalOf(error);
          if (refused === null) throw error;
          return { ok: false, refused };
        }
      }
    },
  };
}

function grownIn(group: readonly StoreItem[], results: readonly ItemResult[]): Set<string> {
  const grown = new Set<string>();
  for (const [at, item] of group.entries()) {
    if (results[at]?.ok !== true) continue;
    if (item.kind === "append" && item.session !== null && item.events.length > 0) grown.add(item.session);
    // What is copied is there at once, without an event.
    if (item.kind === "copy") grown.add(item.into);
  }
  return grown;
}

/** What breaks a rule fails alone, and with it what comes after it in the same run. */
async function applyAll(
  work: Work,
  group: readonly StoreItem[],
  elsewhere: ReadonlySet<string>,
): Promise<ItemResult[]> {
  const failed = new Set<string>();
  const results: ItemResult[] = [];
  for (const item of group) {
    const run = item.kind === "append" ? item.run : null;
    if (run !== null && failed.has(run)) results.push({ ok: false, reason: "skipped" });
    else {
      const result = await applyItem(work, item, elsewhere);
      if (!result.ok && run !== null) failed.add(run);
      results.push(result);
    }
  }
  return results;
}

async function applyItem(work: Work, item: StoreItem, elsewhere: ReadonlySet<string>): Promise<ItemResult> {
  const id = item.kind === "copy" ? item.into : item.kind === "forget" ? null : item.session;
  if (id !== null && elsewhere.has(id)) return { ok: false, reason: "elsewhere" };
  switch (item.kind) {
    case "append":
      return append(work, item);
    case "load":
      return load(work, item);
    case "trim":
      return trim(work, item);
    case "erase":
      return erase(work, item);
    case "copy":
      return copy(work, item);
    case "forget":
      return forget(work, item);
  }
}
