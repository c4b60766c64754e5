import type { MessageRow } from "../../core/operation.ts";
import type { SearchTerms } from "../../core/search.ts";
import { BEGUN_LETTERS, SEARCHED_CHARS, wordsOf } from "../../core/search.ts";
import type { FoundMessage, FoundMessages, SearchQuery } from "../../core/store.ts";
import { FoundCollector } from "../rules.ts";
import { bigints, texts } from "./queries.ts";
import type { Queries } from "./queries.ts";
import { MESSAGE_COLUMNS } from "./session-row.ts";

/** Messages that are looked at together. */
const LOOK_AT = 100;
/** Text that one step makes findable, and a message more at the most. */
const STEP_CHARS = 4 * SEARCHED_CHARS;
/** Letters of a word that count: tsvector takes no longer ones. */
const WORD_LETTERS = 200;

interface Waiting {
  readonly place: number;
  readonly session_key: number;
  readonly message_id: string;
  readonly owner: string;
  readonly data: string | null;
}

/** Makes up to `max_messages` of those that wait findable; 0: none does. Several nodes take different ones. */
export async function index(q: Queries, max_messages: number): Promise<number> {
  const waiting = await q.all<Waiting>(
    `SELECT w.place::float8 AS place, w.session_key::float8 AS session_key, w.message_id, s.owner, m.data
     FROM (SELECT place, session_key, message_id FROM search_queue ORDER BY place LIMIT $1::bigint FOR UPDATE SKIP LOCKED) AS w
     JOIN sessions AS s USING (session_key) LEFT JOIN messages AS m USING (session_key, message_id) ORDER BY w.place`,
    [max_messages],
  );
  let chars = 0;
  const some = waiting
    .map((row) => ({ ...row, content: contentOf(row.data) }))
    .filter(({ content }) => {
      const before = chars;
      chars += content.length;
      return before < STEP_CHARS;
    });
  if (some.length === 0) return 0;
  const said = some.filter(({ content }) => content !== "");
  for (const { session_key, message_id, owner, content } of said) {
    await q.run(
      `INSERT INTO search_words (session_key, message_id, words) VALUES ($1::bigint, $2::text, array_to_tsvector($3::text[]))
       ON CONFLICT DO NOTHING`,
      [session_key, message_id, texts([ownerToken(owner), sessionToken(session_key), ...foldsOf(content)])],
    );
  }
  await q.run("DELETE FROM search_queue WHERE place = ANY($1::bigint[])", [
    bigints(some.map(({ place }) => place)),
  ]);
  return some.length;
}

function contentOf(data: string | null): string {
  if (data === null) return "";
  const { content = "" } = JSON.parse(data) as { content?: string };
  return content.slice(0, SEARCHED_CHARS);
}

function foldsOf(content: string): string[] {
  return [...new Set(wordsOf(content).map(({ fold }) => fold.slice(0, WORD_LETTERS)))];
}

/** With a character that no word has. */
function ownerToken(owner: string): string {
  return `u=${Buffer.from(owner).toString("hex").slice(0, 2_000)}`;
}
function sessionToken(session_key: number): string {
  return `s=${session_key}`;
}

type FoundColumns = MessageRow & { readonly place: number; readonly session: string };

export async function search(q: Queries, query: SearchQuery): Promise<FoundMessages> {
  const scope = await scopeOf(q, query);
  if (scope === null) return { found: [], next: null };
  const text = `(${scope}) & ${matchOf(query.terms)}`;
  const collector = new FoundCollector(query);
  for (;;) {
    const rows = await q.all<FoundColumns>(
      `SELECT w.place::float8 AS place, s.id AS session, m.* FROM search_words AS w
       JOIN sessions AS s USING (session_key)
       JOIN LATERAL (SELECT ${MESSAGE_COLUMNS} FROM messages
         WHERE messages.session_key = w.session_key AND messages.message_id = w.message_id) AS m ON true
       WHERE w.words @@ $1::tsquery AND w.place < $2::bigint AND s.state = 'live'
         AND (s.owner = $3::text OR s.id = ANY($4::text[]))
       ORDER BY w.place DESC LIMIT $5::bigint`,
      [text, collector.before, query.user, texts(query.shared), LOOK_AT],
    );
    const answer = collector.take(rows.map(foundMessage));
    if (answer !== null) return answer;
  }
}

function foundMessage({ place, session, ...message }: FoundColumns): FoundMessage {
  return { place, session, message };
}

/** Null: no message can be found there. */
async function scopeOf(q: Queries, { user, shared, session }: SearchQuery): Promise<string | null> {
  const ids = session === undefined ? shared : [session];
  const rows = await q.all<{ session_key: number }>(
    `SELECT session_key::float8 AS session_key FROM sessions WHERE id = ANY($1::text[])
     UNION SELECT session_key FROM search_moved JOIN sessions USING (session_key) WHERE $3::boolean AND owner = $2::text`,
    [texts(ids), user, session === undefined],
  );
  const tokens = rows.map(({ session_key }) => quoted(sessionToken(session_key)));
  if (session === undefined) tokens.push(quoted(ownerToken(user)));
  return tokens.length === 0 ? null : tokens.join(" | ");
}

/** All the words, in whatever order; whether they stand as they are asked for, only the text tells. */
function matchOf({ phrases, isBegun }: SearchTerms): string {
  const all = phrases.flatMap((words, index) => {
    const begun = isBegun && index === phrases.length - 1;
    return words.map((word, at) => {
      if (!begun || at < words.length - 1) return quoted(word.slice(0, WORD_LETTERS));
      return `${quoted([...word].slice(0, Math.max(BEGUN_LETTERS, 1)).join(""))}:*`;
    });
  });
  return all.join(" & ");
}

/** Words and tokens have neither quotes nor backslashes. */
function quoted(word: string): string {
  return `'${word}'`;
}
