import type { FoundMessage, FoundMessages, SearchQuery } from "../../core/store.ts";
import { takeFound } from "../rules.ts";
import type { MemoryState } from "./state.ts";
import { liveSession, messagesBySeq, pair } from "./state.ts";

const FOUND_ROLES: ReadonlySet<string> = new Set(["user", "assistant"]);

/** Makes up to `max_messages` findable; the number of those that were. */
export function index(state: MemoryState, max_messages: number): number {
  let count = 0;
  for (const [session, { messages }] of state.sessions) {
    for (const { row } of messages.values()) {
      const key = pair(session, row.message_id);
      if (row.status === "streaming" || !FOUND_ROLES.has(row.role) || state.searched.has(key)) continue;
      if (count === max_messages) return count;
      state.searched.set(key, { session, place: state.searched.size + 1 });
      count++;
    }
  }
  return count;
}

export function search(state: MemoryState, query: SearchQuery): FoundMessages {
  const readable = new Set(query.shared);
  const all: FoundMessage[] = [...state.sessions.keys()].flatMap((id) => {
    const session = liveSession(state, id);
    const isRead = session !== null && (session.row.owner === query.user || readable.has(id));
    if (!isRead || (query.session !== undefined && query.session !== id)) return [];
    return messagesBySeq(session).flatMap(({ row }) => {
      const known = state.searched.get(pair(id, row.message_id));
      return known === undefined ? [] : [{ place: known.place, session: id, message: row }];
    });
  });
  all.sort((a, b) => b.place - a.place);
  return takeFound(query, (before) => all.filter(({ place }) => place < before));
}
