import type { Database } from "bun:sqlite";
import { SEARCHED_CHARS, wordsOf } from "../../core/search.ts";
import { hold } from "./database.ts";

/**
 * The words of messages, and which of them belong to whom: one text with the tokens of the owner and the session, one with
 * the words. What was said waits in `search_queue`, so that nobody who speaks waits for it.
 */
export interface SearchIndex {
  /** Makes up to `max_messages` of those that wait findable; where none does, tidies up after deletions. 0: nothing is left to do. */
  index(max_messages: number): number;
  /** Before messages of a session are erased, in the order of their rows: how many may be in this step, at most so many. */
  forget(session_key: number, max_messages: number): { readonly count: number; readonly isLast: boolean };
  /** After its last message was. */
  forgetSession(session_key: number): void;
}

/** Text that one step takes out again, and a message more at the most. */
const STEP_CHARS = 4 * SEARCHED_CHARS;
/** How long one step makes messages findable, and the last of them besides: a commit that comes meanwhile waits for no more. */
const STEP_MS = 5;
/** Pages that one step of tidying up writes. */
const MERGE_PAGES = 64;
/** Set while words of messages that are gone may still be in the file. */
const STALE = "search_stale";

interface Waiting {
  /** In the queue. */
  readonly place: number;
  readonly session_key: number;
  readonly message_id: string;
  readonly owner: string;
}

interface Indexed extends Omit<Waiting, "place"> {
  /** Of what is found; null: it is not. */
  readonly place: number | null;
  readonly content: string | null;
}

export function createSearchIndex(db: Database): SearchIndex {
  const content = "json_extract(m.data, '$.content') AS content";
  const waiting = hold<Waiting>(
    db,
    `SELECT q.place, q.session_key, q.message_id, s.owner FROM search_queue AS q JOIN sessions AS s USING (session_key)
     ORDER BY q.place LIMIT ?`,
  );
  const said = hold<Pick<Indexed, "content">>(
    db,
    `SELECT ${content} FROM messages AS m WHERE session_key = ? AND message_id = ?`,
  );
  const indexed = hold<Indexed>(
    db,
    `SELECT r.place, m.session_key, m.message_id, r.owner, ${content}
     FROM (SELECT rowid AS row, session_key, message_id, data FROM messages WHERE session_key = ? ORDER BY rowid LIMIT ?) AS m
     LEFT JOIN search_rows AS r USING (session_key, message_id) ORDER BY m.row`,
  );
  const unqueue = hold(db, "DELETE FROM search_queue WHERE place = ?");
  const unqueueAll = hold(db, "DELETE FROM search_queue WHERE session_key = ?");
  const add = hold(
    db,
    "INSERT INTO search_rows (session_key, message_id, owner) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
  );
  const put = hold(db, "INSERT INTO search (rowid, scope, words) VALUES (?, ?, ?)");
  const remove = hold(db, "INSERT INTO search (search, rowid, scope, words) VALUES ('delete', ?, ?, ?)");
  const drop = hold(db, "DELETE FROM search_rows WHERE place = ?");
  const unmove = hold(db, "DELETE FROM search_moved WHERE session_key = ?");
  const tidying = createTidying(db);

  return {
    index(max_messages) {
      const until = performance.now() + STEP_MS;
      let count = 0;
      for (const { place, session_key, message_id, owner } of waiting.all(max_messages)) {
        if (count > 0 && performance.now() >= until) break;
        count++;
        unqueue.run(place);
        const text = said.get(session_key, message_id)?.content ?? "";
        if (text === "") continue;
        const { changes: added, lastInsertRowid } = add.run(session_key, message_id, owner);
        if (added > 0) put.run(lastInsertRowid, scopeOf(owner, session_key), textOf(text));
      }
      return count > 0 ? count : tidying.step();
    },
    forget(session_key, max_messages) {
      const rows = indexed.all(session_key, max_messages);
      const some = withinStep(rows);
      for (const { place, owner, content: text } of some) {
        if (place === null) continue;
        remove.run(place, scopeOf(owner, session_key), textOf(text ?? ""));
        drop.run(place);
      }
      if (some.length > 0) tidying.ask();
      return { count: some.length, isLast: some.length === rows.length && rows.length < max_messages };
    },
    forgetSession(session_key) {
      unqueueAll.run(session_key);
      unmove.run(session_key);
    },
  };
}

/** Words that were deleted are only gone once everything was merged. */
function createTidying(db: Database) {
  const mark = hold(
    db,
    "INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
  );
  const marked = hold<{ value: string }>(db, "SELECT value FROM meta WHERE name = ?");
  const unmark = hold(db, "DELETE FROM meta WHERE name = ?");
  const merge = hold(db, "INSERT INTO search (search, rank) VALUES ('merge', ?)");
  const changes = hold<{ count: number }>(db, "SELECT total_changes() AS count");
  return {
    /** There is something to be merged. */
    ask: (): void => void mark.run(STALE, "new"),
    /** 0: there is nothing to do. */
    step(): number {
      const stale = marked.get(STALE)?.value;
      if (stale === undefined) return 0;
      const before = changes.get()?.count ?? 0;
      // A negative number has the whole be merged, once; the steps after it go on with that.
      merge.run(stale === "new" ? -MERGE_PAGES : MERGE_PAGES);
      const isDone = stale !== "new" && (changes.get()?.count ?? 0) - before < 2;
      if (isDone) unmark.run(STALE);
      else mark.run(STALE, "begun");
      return 1;
    },
  };
}

/** The first of them, as many as one step takes. */
function withinStep(rows: readonly Indexed[]): readonly Indexed[] {
  let chars = 0;
  return rows.filter(({ content }) => {
    const before = chars;
    chars += Math.min(content?.length ?? 0, SEARCHED_CHARS);
    return before < STEP_CHARS;
  });
}

function textOf(content: string): string {
  return wordsOf(content.slice(0, SEARCHED_CHARS))
    .map(({ fold }) => fold)
    .join(" ");
}

function scopeOf(owner: string, session_key: number): string {
  return `${ownerToken(owner)} ${sessionToken(session_key)}`;
}

/** Whether words of messages that are gone may still be in the file. */
export function isStale(db: Database): boolean {
  return db.query("SELECT 1 FROM meta WHERE name = ?").get(STALE) !== null;
}

/** Letters and digits alone, whatever the name is made of. */
export function ownerToken(owner: string): string {
  return `u${Buffer.from(owner).toString("hex")}`;
}

export function sessionToken(session_key: number): string {
  return `s${session_key}`;
}
