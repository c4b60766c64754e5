import type { Feed } from "./feeds.ts";
import type { Settled } from "./journal-queue.ts";
import type { SessionRef } from "./session.ts";
import type { Tail } from "./tail.ts";

interface Waiter {
  readonly resolve: (tail: Tail) => void;
  readonly reject: (error: Error) => void;
  readonly as: "reader" | "run";
}

/** The place of one tail among those in memory. */
export interface Slot {
  readonly session: SessionRef;
  tail: Tail | null;
  /** Readers attached. */
  pins: number;
  /** Operations queued or in flight. */
  queued: number;
  /** Bytes of the tail as they were last added to the sum. */
  counted: number;
  /** Storage refuses to load it, for now. */
  isRefused: boolean;
  /** Its session is erased: it goes as soon as nobody uses it. */
  isForgotten: boolean;
  /** Another node has the session, and writes its log. */
  feed: Feed | null;
  /** It is being found out what another node's log has. */
  isFollowing: boolean;
  /** This node takes it from a node that is gone. */
  taking: Promise<boolean> | null;
  /** What the last node left in it is being ended. */
  settling: Promise<void> | null;
  /** Why there will be no tail: the slot is not in use any more. */
  failed: Error | null;
  waiting: Waiter[];
}

/** The session of a tail that was asked for does not exist (any more). */
export class NoSuchSession extends Error {}

/** What a tail that has to be loaded is told. */
export interface Load {
  readonly settle: (result: Settled) => void;
  /** Not now: it is tried again. May be called any number of times before `settle`. */
  readonly refused: () => void;
}

/** The log that the tails are the ends of. */
export interface TailLog {
  /** Queues what reads the end of a session's log. */
  readonly load: (session: SessionRef, load: Load) => void;
  /** Another node writes it from now on: what waits for its turn to be written is refused. */
  readonly elsewhere: (session: string) => void;
}

export function newSlot(session: SessionRef): Slot {
  const counts = { pins: 0, queued: 0, counted: 0 };
  const shared = { feed: null, isFollowing: false, taking: null, settling: null };
  const states = { isRefused: false, isForgotten: false, failed: null };
  return { session, tail: null, ...counts, ...states, ...shared, waiting: [] };
}

/** Whether a tail may go: nobody uses it, and what is written here is written to its end. */
export function isIdle({ pins, queued, tail, feed, settling }: Slot): boolean {
  if (pins > 0 || queued > 0 || tail === null) return false;
  return feed !== null || (settling === null && tail.open.size === 0);
}

/** Whether its log is written here, as far as is known, and nothing is on its way into it. */
export function isWritten({ tail, feed, queued }: Slot): boolean {
  return tail !== null && feed === null && queued <= 0;
}
