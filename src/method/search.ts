import type { Static } from "@sinclair/typebox";
import { messageView } from "../core/snapshot.ts";
import type { SearchTerms } from "../core/search.ts";
import { SEARCHED_CHARS, snippetOf, termsOf } from "../core/search.ts";
import { nameFor } from "../core/session.ts";
import type { FoundMessage } from "../core/store.ts";
import { sessionSearch } from "../protocol/api/search.ts";
import { GatewayError } from "../protocol/errors.ts";
import type { MethodDeps } from "./deps.ts";
import { published } from "./deps.ts";
import type { Call, MethodHandler } from "./registry.ts";
import { handle } from "./registry.ts";

type Result = Static<typeof sessionSearch.result>["results"][number];

export function searchMethods(deps: MethodDeps): MethodHandler[] {
  return [handle(sessionSearch, async (params, call) => search(deps, params, call))];
}

async function search(deps: MethodDeps, params: Static<typeof sessionSearch.params>, { user }: Call) {
  const { store, directory } = deps;
  const { query, session_id, limit = 20, cursor } = params;
  const terms = termsOf(query);
  if (terms === null) {
    throw new GatewayError("INVALID_REQUEST", "query: there is no word in it to look for", {
      details: { kind: "query" },
    });
  }
  const session = session_id === undefined ? null : await directory.find(user, session_id, "read");
  const { found, next } = await store.search({
    user,
    shared: directory.sharedWith(user),
    terms,
    limit,
    ...(session !== null && { session: session.id }),
    ...(cursor !== undefined && { before: placeOf(cursor) }),
  });
  const ids = [...new Set(found.map((each) => each.session))];
  const shown = new Map(
    await Promise.all(ids.map(async (id) => [id, await showIn(deps, id, user, terms)] as const)),
  );
  const results = found.flatMap((each) => shown.get(each.session)?.(each) ?? []);
  return { results, ...(next !== null && { next: String(next) }) };
}

/** What shows the messages of a session; null: it is gone, or may not be read any more. */
async function showIn(
  deps: MethodDeps,
  id: string,
  user: string,
  terms: SearchTerms,
): Promise<((found: FoundMessage) => Result[]) | null> {
  const row = await deps.store.session(id);
  if (row === null) return null;
  await published(deps, row, row.head);
  // It may have been taken back meanwhile.
  if (!deps.directory.mayRead(row, user)) return null;
  const name = nameFor(row, user);
  return ({ message }) => {
    const { message_id, seq, role, timestamp, content } = messageView(message, name);
    const found = snippetOf(content.slice(0, SEARCHED_CHARS), terms);
    if (found === null || (role !== "user" && role !== "assistant")) return [];
    const { snippet, matches } = found;
    return [
      {
        session_id: name,
        title: row.title,
        message_id,
        seq,
        role,
        timestamp,
        snippet,
        matches: [...matches],
      },
    ];
  };
}

function placeOf(cursor: string): number {
  if (/^\d{1,15}$/.test(cursor)) return Number(cursor);
  throw new GatewayError("INVALID_REQUEST", "cursor: send the `next` of the page before, as it was", {
    details: { kind: "cursor" },
  });
}
