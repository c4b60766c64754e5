import type { Database } from "bun:sqlite";
import type { MessageRow } from "../../core/operation.ts";
import type { SearchTerms } from "../../core/search.ts";
import { BEGUN_LETTERS } from "../../core/search.ts";
import type { FoundMessage, FoundMessages, SearchQuery } from "../../core/store.ts";
import { takeFound } from "../rules.ts";
import { hold } from "./database.ts";
import { ownerToken, sessionToken } from "./search-words.ts";

/** Messages that are looked at together. */
const LOOK_AT = 100;

type FoundColumns = MessageRow & { readonly place: number; readonly session: string };

export function createSearchReads(db: Database) {
  // The words first, the newest of them first: what stands behind them is looked up one by one.
  const find = hold<FoundColumns>(
    db,
    `SELECT f.rowid AS place, s.id AS session, m.message_id, m.seq, m.role, m.status, m.data
     FROM search AS f CROSS JOIN search_rows AS r ON r.place = f.rowid
     CROSS JOIN sessions AS s ON s.session_key = r.session_key
     CROSS JOIN messages AS m ON m.session_key = r.session_key AND m.message_id = r.message_id
     WHERE search MATCH ?1 AND f.rowid < ?2 AND s.state = 'live'
       AND (s.owner = ?3 OR s.id IN (SELECT value FROM json_each(?4)))
     ORDER BY f.rowid DESC LIMIT ?5`,
  );
  const keys = hold<{ session_key: number }>(
    db,
    "SELECT session_key FROM sessions WHERE id IN (SELECT value FROM json_each(?))",
  );
  const moved = hold<{ session_key: number }>(
    db,
    "SELECT session_key FROM search_moved JOIN sessions USING (session_key) WHERE owner = ?",
  );

  /** Null: no message can be found there. */
  function scopeOf({ user, shared, session }: SearchQuery): string | null {
    const tokens = (rows: readonly { session_key: number }[]): string[] =>
      rows.map(({ session_key }) => sessionToken(session_key));
    const all =
      session === undefined
        ? [ownerToken(user), ...tokens(moved.all(user)), ...tokens(keys.all(JSON.stringify(shared)))]
        : tokens(keys.all(JSON.stringify([session])));
    return all.length === 0 ? null : `scope : (${all.join(" OR ")})`;
  }

  return {
    search(query: SearchQuery): FoundMessages {
      const scope = scopeOf(query);
      if (scope === null) return { found: [], next: null };
      const text = `${scope} AND ${matchOf(query.terms)}`;
      const readable = JSON.stringify(query.shared);
      // One by one: how many are looked at depends on how long they are.
      return takeFound(query, function* (before) {
        for (const row of find.iterate(text, before, query.user, readable, LOOK_AT)) yield foundMessage(row);
      });
    },
  };
}

/** A word that is begun is found by its first letters; whether it goes on as asked, only its text tells. */
function matchOf({ phrases, isBegun }: SearchTerms): string {
  const parts = phrases.map((words, index) => {
    const begun = isBegun && index === phrases.length - 1;
    const last = [...(words.at(-1) ?? "")].slice(0, BEGUN_LETTERS).join("");
    const shown = begun ? [...words.slice(0, -1), last] : words;
    return `"${shown.join(" ")}"${begun ? " *" : ""}`;
  });
  return `words : (${parts.join(" AND ")})`;
}

function foundMessage({ place, session, ...message }: FoundColumns): FoundMessage {
  return { place, session, message };
}
