import type { FoldEvent, Transcript } from "../../src/core/transcript.ts";
import { applyEvent, emptyTranscript, fromSnapshot } from "../../src/core/transcript.ts";
import type { Snapshot } from "../../src/protocol/entities.ts";

export interface Cursor {
  readonly epoch: string;
  readonly seq: number;
}

/** What a subscription answers, whichever transport it came over. */
export interface Opening {
  readonly mode: "resume" | "snapshot" | "reset";
  readonly reason?: string;
  readonly epoch: string;
  readonly from: number;
  readonly head?: number;
  readonly snapshot?: Snapshot;
}

/** A durable event as it came: its bytes, and what they say. */
export interface Received {
  readonly raw: string;
  readonly frame: FoldEvent & { readonly type: string };
}

/** The gateway did what protocol.md says it never does. */
export class Violation extends Error {}

/**
 * What a client knows of one session, and whether what it is sent continues it. Every durable event has to be the next
 * one; nothing is forgiven, so it is for connections that are opened and read exactly as the protocol says.
 */
export class WatcherFold {
  transcript: Transcript = emptyTranscript();
  cursor: Cursor | null;
  /** Between session.synced and the end of the subscription. */
  synced = false;
  /** Every event that was folded, by `<epoch>.<seq>`, as it came. */
  readonly seen = new Map<string, string>();
  readonly openings: { readonly asked: Cursor | null; readonly opening: Opening }[] = [];
  readonly #session_id: string;
  readonly #onChange: () => void;
  #open = false;

  constructor(session_id: string, start: Cursor | null, onChange: () => void) {
    this.#session_id = session_id;
    this.cursor = start;
    this.#onChange = onChange;
  }

  /** Nothing of the session is taken any more, until the next opening. */
  closed(): void {
    this.#open = false;
    this.synced = false;
  }

  get isOpen(): boolean {
    return this.#open;
  }

  /** @throws Violation */
  opened(asked: Cursor | null, opening: Opening): void {
    const { mode, reason, epoch, from, snapshot } = opening;
    this.openings.push({ asked, opening: { ...opening, ...(snapshot && { snapshot: trim(snapshot) }) } });
    if (mode === "resume") {
      if (asked === null && from !== 0) refuse(`a resume from ${from} for somebody without a cursor`);
      if (asked !== null && ((asked.epoch !== "" && epoch !== asked.epoch) || from !== asked.seq)) {
        refuse(`a resume from ${epoch}.${from} for the cursor ${asked.epoch}.${asked.seq}`);
      }
      // From the beginning: all of it comes.
      if (from === 0) this.transcript = emptyTranscript();
    } else {
      this.#replace(asked, opening, snapshot, reason);
    }
    if (opening.head !== undefined && opening.head < from) refuse(`head ${opening.head} before from ${from}`);
    this.cursor = { epoch, seq: from };
    this.#open = true;
    this.synced = false;
    this.#onChange();
  }

  #replace(
    asked: Cursor | null,
    { mode, epoch, from }: Opening,
    snapshot: Snapshot | undefined,
    reason: string | undefined,
  ): void {
    if (snapshot === undefined) return refuse(`${mode} without a snapshot`);
    const { session } = snapshot;
    if (session.epoch !== epoch || session.head !== from) {
      return refuse(`a snapshot of ${session.epoch}.${session.head} to continue at ${epoch}.${from}`);
    }
    if (mode === "reset")
      return refuse(`the log is lost (${reason}): the cursor was ${JSON.stringify(asked)}`);
    if (asked !== null && asked.epoch !== "") {
      if (reason !== "far" && reason !== "trimmed") refuse(`a snapshot, reason ${reason}, for a cursor`);
      if (asked.epoch !== epoch || from < asked.seq)
        refuse(`a snapshot older than the cursor: ${from} < ${asked.seq}`);
    }
    const wrong = snapshot.messages.find((each, i) => each.seq <= (snapshot.messages[i - 1]?.seq ?? 0));
    if (wrong !== undefined) refuse(`messages of a snapshot out of order at ${wrong.seq}`);
    this.transcript = fromSnapshot(snapshot);
    return undefined;
  }

  /** A durable event of the session. @throws Violation */
  event({ raw, frame }: Received): void {
    const { cursor } = this;
    const at = `${frame.epoch}.${frame.seq}`;
    if (!this.#open || cursor === null) return refuse(`${frame.event} ${at} without a subscription`);
    if (frame.session_id !== this.#session_id) refuse(`${frame.event} ${at} of session ${frame.session_id}`);
    if (frame.epoch !== cursor.epoch || frame.seq !== cursor.seq + 1) {
      return refuse(`${frame.event} ${at} after ${cursor.epoch}.${cursor.seq}`);
    }
    const before = this.seen.get(at);
    if (before !== undefined && before !== raw) return refuse(`${at} is not what it was:\n${before}\n${raw}`);
    this.seen.set(at, raw);
    if (applyEvent(this.transcript, frame) === "gap") return refuse(`${at} does not continue the text`);
    this.cursor = { epoch: frame.epoch, seq: frame.seq };
    this.#onChange();
    return undefined;
  }

  /** session.synced. @throws Violation */
  caughtUp(epoch: string, at: number): void {
    const { cursor } = this;
    if (!this.#open || cursor === null) return refuse("session.synced without a subscription");
    if (this.synced) return refuse("session.synced twice");
    if (epoch !== cursor.epoch || at !== cursor.seq) {
      return refuse(`session.synced at ${epoch}.${at}, the last event was ${cursor.epoch}.${cursor.seq}`);
    }
    this.synced = true;
    this.#onChange();
    return undefined;
  }
}

/** Openings are kept for a look; their snapshots would weigh too much. */
function trim(snapshot: Snapshot): Snapshot {
  return { ...snapshot, messages: [], runs: [], approvals: [] };
}

export function refuse(message: string): void {
  throw new Violation(message);
}
