import { useLayoutEffect, useRef, useState } from "react";
import type { VirtualizerHandle } from "virtua";
import { Virtualizer } from "virtua";
import type { ClientSession } from "../../client/session.ts";
import type { SessionSnapshot } from "../../client/state.ts";
import { Icon } from "../icon.tsx";
import type { Target } from "../route.ts";
import { useFollowEnd } from "./follow-end.ts";
import { MessageRow } from "./message-row.tsx";
import { PendingRows } from "./pending-rows.tsx";
import { useReach } from "./reach.ts";
import { ReachNotice } from "./reach-notice.tsx";
import { Rows } from "./rows.ts";
import { useShown } from "./show-message.ts";

/** So near to the beginning the messages before it are fetched. */
const AHEAD_PX = 1_500;
const OLDER = 200;

interface TranscriptProps {
  readonly session: ClientSession;
  readonly snapshot: SessionSnapshot;
  /** The message to be brought into view. */
  readonly target: Target | null;
}

/** The messages; only those one can see are in the page, so that thousands of them cost nothing. */
export function Transcript({ session, snapshot, target }: TranscriptProps) {
  const [rows_of] = useState(() => new Rows());
  const { rows, prepended } = rows_of.of(snapshot);
  const { pending, has_more } = snapshot;
  const scroller = useRef<HTMLDivElement>(null);
  const { end, away } = useFollowEnd(scroller);
  const older = useOlder(session, has_more);
  const last = rows.at(-1);
  const list = useRef<VirtualizerHandle>(null);
  const reach = useReach(session, target);
  const index =
    reach.reached === "there"
      ? rows.findIndex(({ message }) => message.message_id === target?.message_id)
      : -1;
  const is_marked = useShown(target, index, { scroller, list, end });

  useLayoutEffect(() => end.grown(), [end, last, rows.length]);
  // Whoever sends something wants to see it.
  const sent = pending.at(-1)?.idempotency_key;
  useLayoutEffect(() => {
    if (sent !== undefined) end.toEnd();
  }, [end, sent]);
  return (
    <div className="transcript-place">
      <div
        className="transcript"
        ref={scroller}
        tabIndex={0}
        role="log"
        aria-live="off"
        aria-label="Conversation"
      >
        <Virtualizer
          ref={list}
          scrollRef={scroller}
          shift={prepended}
          bufferSize={600}
          onScroll={(offset) => {
            end.scrolled(offset);
            if (offset < AHEAD_PX) older();
          }}
          onResize={end.grown}
        >
          {rows.map((row, at) => (
            <MessageRow
              key={row.message.message_id}
              row={row}
              session={session}
              marked={is_marked && at === index}
            />
          ))}
        </Virtualizer>
        <PendingRows session={session} pending={pending} />
      </div>
      <ReachNotice reach={reach} />
      {away && (
        <button type="button" className="to-end" aria-label="To the newest message" onClick={end.toEnd}>
          <Icon name="down" />
        </button>
      )}
    </div>
  );
}

/** One page at a time. */
function useOlder(session: ClientSession, has_more: boolean): () => void {
  const loading = useRef(false);
  return () => {
    if (!has_more || loading.current) return;
    loading.current = true;
    session.loadOlder({ limit: OLDER }).then(
      () => (loading.current = false),
      // The next scroll asks again.
      () => (loading.current = false),
    );
  };
}
