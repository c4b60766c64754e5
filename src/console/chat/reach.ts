import { useEffect, useState } from "react";
import type { ClientSession } from "../../client/session.ts";
import type { Target } from "../route.ts";

const PAGE = 500;
/** So far back a message is looked for: 20,000 messages before those that are there. */
const MOST_PAGES = 40;

/** "there": it is among the messages. "missing": it is not in the session, or too far back. */
type Reached = "looking" | "there" | "missing" | "failed";

export interface Reach {
  /** Null: no message was chosen. */
  readonly reached: Reached | null;
  readonly again: () => void;
}

/** Brings a message that was chosen among those that are there, however far back it is. */
export function useReach(session: ClientSession, target: Target | null): Reach {
  const [tries, setTries] = useState(0);
  const [known, setKnown] = useState<{ of: Target; tries: number; reached: Reached } | null>(null);
  useEffect(() => {
    if (target === null) return undefined;
    const over = new AbortController();
    const { signal } = over;
    const tell = (reached: Reached): void => {
      if (!signal.aborted) setKnown({ of: target, tries, reached });
    };
    reach(session, target.message_id, signal).then(tell, () => tell("failed"));
    return () => over.abort();
  }, [session, target, tries]);
  const current = known?.of === target && known?.tries === tries ? known?.reached : undefined;
  return {
    reached: target === null ? null : (current ?? "looking"),
    again: () => setTries((before) => before + 1),
  };
}

async function reach(session: ClientSession, message_id: string, signal: AbortSignal): Promise<Reached> {
  const { state } = session;
  const isThere = (): boolean =>
    state.getSnapshot().messages.some((message) => message.message_id === message_id);
  await state.until(({ status }) => isThere() || status === "live" || status === "absent", { signal });
  for (let pages = 0; !isThere(); pages++) {
    if (!state.getSnapshot().has_more || pages === MOST_PAGES) return "missing";
    await session.loadOlder({ limit: PAGE, signal });
  }
  return "there";
}
