import type { StoredEvent } from "../protocol/frames.ts";
import type { Settled } from "./journal-queue.ts";
import type { IdempotencyRow, NewEvent, Refusal, RowChange } from "./operation.ts";
import type { SessionRef } from "./session.ts";
import type { Tail } from "./tail.ts";
import type { Tails } from "./tails.ts";

/** What an append came to, told inside the block that publishes its events, before them. */
export type Appended =
  | { readonly ok: true; readonly first_seq: number; readonly epoch: string; readonly tail: Tail | null }
  | {
      readonly ok: false;
      readonly reason: Refusal | "storage" | "overloaded" | "stopped";
      readonly what?: string;
      readonly prior?: IdempotencyRow;
    };

export interface Append {
  readonly session: SessionRef | null;
  /** The run it belongs to; null for a command. Commands fail when storage refuses, operations of a run are kept. */
  readonly run: string | null;
  readonly ack: boolean;
  readonly events: readonly NewEvent[];
  readonly rows: readonly RowChange[];
  /** The end a run is owed: taken although an earlier operation of the run failed. */
  readonly final?: boolean;
  /** Called exactly once, synchronously with the publication; must not throw. */
  readonly settle: (outcome: Appended) => void;
}

export type Publish = (session: SessionRef, tail: Tail, event: StoredEvent) => void;

/** What the events of an operation are handed to, in one tick. Neither throws. */
export interface Published {
  /** Every event, after it was put in the tail. */
  readonly publish: Publish;
  /** What was written with them, after the last of them. */
  readonly committed?: (session: SessionRef, rows: readonly RowChange[]) => void;
}

/** Tells the caller what its append came to; then the tail takes the events and they are published, in one tick. */
export function settleAppend(append: Append, result: Settled, tails: Tails, to: Published): void {
  if (typeof result === "string") return append.settle({ ok: false, reason: result });
  if (!result.ok) return append.settle(result);
  if (!("first_seq" in result)) throw new Error("the store answered an append with another result");
  const { session, events } = append;
  const { first_seq, epoch } = result;
  if (session === null) return append.settle({ ok: true, first_seq, epoch, tail: null });
  const tail = tails.landed(session, append.rows, epoch);
  append.settle({ ok: true, first_seq, epoch, tail });
  events.forEach((event, index) => {
    const stored: StoredEvent = { ...event, seq: first_seq + index };
    tail.push(stored);
    to.publish(session, tail, stored);
  });
  to.committed?.(session, append.rows);
  return undefined;
}
