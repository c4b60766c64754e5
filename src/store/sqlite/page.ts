import type { Database } from "bun:sqlite";
import type { Limits } from "../../core/limits.ts";
import type { Page } from "../../core/store.ts";
import type { StoredEvent } from "../../protocol/frames.ts";
import { eventBytes, takeWithin } from "../rules.ts";
import { hold } from "./database.ts";

export type ReadPage = (session: string, after: number, upto: number) => Page | null;

/** Reads pages of logs: epoch, floor, head and events of one read transaction. */
export function createPageReader(db: Database, limits: Limits): ReadPage {
  const begin = hold(db, "BEGIN");
  const end = hold(db, "COMMIT");
  const session = hold<Omit<Page, "events"> & { session_key: number }>(
    db,
    "SELECT session_key, epoch, floor, head FROM sessions WHERE id = ? AND state = 'live'",
  );
  const events = hold<StoredEvent>(
    db,
    "SELECT seq, ts, type, run_id, payload FROM events WHERE session_key = ? AND seq > ? AND seq <= ? ORDER BY seq",
  );
  const bounds = { count: limits.page_events, bytes: limits.page_bytes };

  return (id, after, upto) => {
    begin.run();
    try {
      const found = session.get(id);
      if (found === null) return null;
      const { session_key, epoch, floor, head } = found;
      if (after < floor) return { epoch, floor, head, events: [] };
      const { taken } = takeWithin(events.iterate(session_key, after, upto), eventBytes, bounds);
      return { epoch, floor, head, events: taken };
    } finally {
      end.run();
    }
  };
}
