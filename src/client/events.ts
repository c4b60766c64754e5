import type { DurableEvent, DurablePayload, SignalEvent, SignalPayload } from "../protocol/events.ts";
import type { EventFrame } from "../protocol/frames.ts";
import type { Opening } from "./methods.ts";

/** What an event of that type carries; of types a newer gateway or an application sends, anything. */
export type PayloadOf<T extends string> = T extends DurableEvent
  ? DurablePayload<T>
  : T extends SignalEvent
    ? SignalPayload<T>
    : Record<string, unknown>;

/** The frame of one type of event. */
export type EventOf<T extends string> = Omit<EventFrame, "event" | "payload"> & {
  readonly event: T;
  readonly payload: PayloadOf<T>;
};

/** An event's place in the log of its session. */
interface Place {
  readonly session_id: string;
  readonly epoch: string;
  readonly seq: number;
}

/** An event of a session's log. */
export type LogEvent = {
  [T in DurableEvent | `app.${string}`]: EventOf<T> & Place;
}[DurableEvent | `app.${string}`];

/** Where the events that follow begin: after `seq`. A snapshot or reset replaces whatever was known. */
export type OpeningEvent = {
  readonly [M in Opening["mode"] as OpeningName<M>]: Place & {
    readonly type: "event";
    readonly event: OpeningName<M>;
    readonly run_id?: never;
    readonly payload: Pick<Opening, "head" | "reason"> &
      (M extends "resume" ? { readonly snapshot?: never } : Required<Pick<Opening, "snapshot">>);
  };
}[OpeningName<Opening["mode"]>];
type OpeningName<M extends Opening["mode"]> = M extends "resume" ? "session.resumed" : `session.${M}`;

/** What a reader of a session is given: an opening first, then the events after it, in order, each once. */
export type SessionEvent = OpeningEvent | LogEvent;

/** The event that stands for an opening, named as in the SSE stream. */
export function openingEvent(session_id: string, opening: Opening): OpeningEvent {
  const { mode, epoch, from, ...payload } = opening;
  const event = mode === "resume" ? "session.resumed" : `session.${mode}`;
  return { type: "event", event, session_id, epoch, seq: from, payload } as OpeningEvent;
}
