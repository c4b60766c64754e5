import type { RefObject } from "react";
import { useEffect, useRef, useState } from "react";
import type { VirtualizerHandle } from "virtua";
import type { Target } from "../route.ts";
import type { FollowEnd } from "./follow-end.ts";

/** So long it is seen which message was chosen. */
const MARKED_MS = 3_000;
/** It begins so far down the place, so that one sees what came before. */
const ABOVE = 0.25;

interface Place {
  readonly scroller: RefObject<HTMLElement | null>;
  readonly list: RefObject<VirtualizerHandle | null>;
  readonly end: FollowEnd;
}

/** Brings the row of a message that was chosen into view, once, and answers whether it is marked still. */
export function useShown(target: Target | null, index: number, { scroller, list, end }: Place): boolean {
  const shown = useRef<Target | null>(null);
  const [marked, setMarked] = useState<Target | null>(null);
  useEffect(() => {
    const place = scroller.current;
    if (target === null || index < 0 || shown.current === target || place === null) return;
    shown.current = target;
    end.leave();
    list.current?.scrollToIndex(index, { align: "start", offset: -place.clientHeight * ABOVE });
    // Whoever chose it by keyboard goes on from there.
    place.focus({ preventScroll: true });
    setMarked(target);
  }, [target, index, scroller, list, end]);
  useEffect(() => {
    if (marked === null) return undefined;
    const timer = setTimeout(() => setMarked(null), MARKED_MS);
    return () => clearTimeout(timer);
  }, [marked]);
  return marked !== null && marked === target;
}
