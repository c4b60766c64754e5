import { useLayoutEffect, useRef, useState } from "react";
import type { VirtualizerHandle } from "virtua";
import { Virtualizer } from "virtua";
import type { ClientSession } from "../../client/session.ts";
import type { SessionSnapshot } from "../../client/state.ts";
import { Icon } from "../icon.tsx";
import { MessageRow } from "./message-row.tsx";
import { PendingRows } from "./pending-rows.tsx";
import { Rows } from "./rows.ts";

/** So near to the end one follows it. */
const NEAR_PX = 8;
/** So near to the beginning the messages before it are fetched. */
const AHEAD_PX = 1_500;
const OLDER = 200;

interface TranscriptProps {
  readonly session: ClientSession;
  readonly snapshot: SessionSnapshot;
}

/** The messages; only those one can see are in the page, so that thousands of them cost nothing. */
export function Transcript({ session, snapshot }: TranscriptProps) {
  const [rows_of] = useState(() => new Rows());
  const { rows, prepended } = rows_of.of(snapshot);
  const { pending, has_more } = snapshot;
  const scroller = useRef<HTMLDivElement>(null);
  const list = useRef<VirtualizerHandle>(null);
  const { scroll, away } = useScroll(scroller, list);
  const older = useOlder(session, has_more);
  const last = rows.at(-1);

  useLayoutEffect(() => scroll.follow(), [scroll, last, rows.length, pending.length]);
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
            scroll.scrolled(offset);
            if (offset < AHEAD_PX) older();
          }}
          onResize={scroll.follow}
        >
          {rows.map((row) => (
            <MessageRow key={row.message.message_id} row={row} session={session} />
          ))}
        </Virtualizer>
        <PendingRows session={session} pending={pending} />
      </div>
      {away && (
        <button type="button" className="to-end" aria-label="To the newest message" onClick={scroll.toEnd}>
          <Icon name="down" />
        </button>
      )}
    </div>
  );
}

/** Follows the end until somebody scrolls away from it, and again once they are back. */
function useScroll(
  scroller: React.RefObject<HTMLDivElement | null>,
  list: React.RefObject<VirtualizerHandle | null>,
) {
  const [away, setAway] = useState(false);
  const [scroll] = useState(() => {
    let follows = true;
    let before = 0;
    function toEnd(): void {
      const place = scroller.current;
      if (place !== null) place.scrollTop = place.scrollHeight;
    }
    return {
      scrolled: (offset: number): void => {
        const place = scroller.current;
        if (place === null) return;
        const left = place.scrollHeight - place.clientHeight - offset;
        if (left <= NEAR_PX) follows = true;
        else if (offset < before - 1) follows = false;
        before = offset;
        setAway(!follows && left > place.clientHeight / 2);
      },
      follow: (): void => {
        if (follows && list.current !== null) toEnd();
      },
      toEnd: (): void => {
        follows = true;
        toEnd();
      },
    };
  });
  return { scroll, away };
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
