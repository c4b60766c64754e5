import type { Message, Run, Snapshot } from "../protocol/entities.ts";
import type { Naming } from "../protocol/events.ts";
import type { Limits } from "./limits.ts";
import { viewOf } from "./message.ts";
import type { MessageRow } from "./operation.ts";
import type { SnapshotRows, Store } from "./store.ts";
import type { SessionRef } from "./session.ts";
import { nameOf, sessionView, topicOf } from "./session.ts";
import type { Slots } from "./slots.ts";
import type { SnapshotText } from "./snapshot-cache.ts";
import { SnapshotCache } from "./snapshot-cache.ts";
import type { Tail } from "./tail.ts";
import { lengthUtf8 } from "./text.ts";
import type { Transcript } from "./transcript.ts";
import { applyEvent } from "./transcript.ts";

const ATTEMPTS = 8;
/** For the frame around a snapshot, and what else may be on its way to the same reader. */
const MARGIN_BYTES = 16 * 1024;

/** Snapshots by session and naming, as long as the tail can continue them. */
export class Snapshots {
  readonly #store: Store;
  readonly #limits: Limits;
  readonly #reads: Slots;
  readonly #cache = new SnapshotCache();

  /** `reads`: store reads for readers, bounded. */
  constructor(store: Store, limits: Limits, reads: Slots) {
    this.#store = store;
    this.#limits = limits;
    this.#reads = reads;
  }

  /** Null where the session is gone. `tail` is pinned by the caller. */
  of(session: SessionRef, naming: Naming, tail: Tail): Promise<SnapshotText | null> {
    return this.#cache.of(
      topicOf(session, naming),
      tail,
      (snapshot) => this.#isFresh(snapshot, tail),
      () => this.#make(session, naming, tail),
    );
  }

  /** The tail continues it, and what follows fits in one page. */
  #isFresh(snapshot: SnapshotText, tail: Tail): boolean {
    if (snapshot.epoch !== tail.epoch || snapshot.at < tail.first - 1) return false;
    return tail.read(snapshot.at, this.#limits.page_events, this.#limits.page_bytes).all;
  }

  async #make(session: SessionRef, naming: Naming, tail: Tail): Promise<SnapshotText | null> {
    const { snapshot_bytes, snapshot_messages, slow_soft_bytes } = this.#limits;
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const rows = await this.#reads.use(() =>
        this.#store.snapshot(session.id, snapshot_bytes, snapshot_messages),
      );
      if (rows === null) return null;
      await tail.reached(rows.session.head);
      const snapshot = assemble(rows, tail, nameOf(session, naming));
      if (snapshot === null) continue;
      const text = encodeWithin(newest(snapshot, snapshot_messages), slow_soft_bytes - MARGIN_BYTES);
      return { at: tail.head, epoch: tail.epoch, text };
    }
    throw new Error(`the snapshot of ${session.id} was overtaken ${ATTEMPTS} times`);
  }
}

/**
 * Rows at head H with the tail's events after H folded over them and the open messages as the tail has them: the state
 * at the tail's head. Null where that cannot be told and the rows have to be read again.
 */
export function assemble(rows: SnapshotRows, tail: Tail, name: string): Snapshot | null {
  const { head, epoch } = rows.session;
  if (epoch !== tail.epoch || tail.first > head + 1) return null;
  const transcript: Transcript = {
    session: sessionView(rows.session, name),
    messages: rows.messages.map((row) => messageView(row, name)),
    runs: rows.runs.map((row) => ({
      session_id: name,
      ...(JSON.parse(row.data) as Omit<Run, "session_id">),
    })),
    approvals: [...tail.approvals.values()],
    closed: false,
  };
  const { events } = tail.read(head, Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY);
  for (const event of events) {
    const payload = JSON.parse(event.payload) as { message?: { message_id: string } };
    // It was open at H, so the rows do not have it: only a new read tells where it belongs.
    if (event.type === "message.completed" && !knows(transcript, payload.message?.message_id)) return null;
    applyEvent(transcript, { ...event, event: event.type, session_id: name, epoch, payload });
  }
  const messages = [
    ...transcript.messages.filter((message) => message.status !== "streaming"),
    ...openOf(tail, name),
  ];
  messages.sort((a, b) => a.seq - b.seq);
  const session = sessionView(tail.row, name);
  return {
    session,
    messages,
    runs: transcript.runs,
    approvals: [...tail.approvals.values()],
    has_more: rows.has_more,
  };
}

/** Only so many complete messages: what the tail folded over the rows comes on top of those that were read. */
export function newest(snapshot: Snapshot, max_messages: number): Snapshot {
  const complete = snapshot.messages.filter(({ status }) => status !== "streaming").length;
  let excess = complete - max_messages;
  return excess <= 0 ? snapshot : without(snapshot, () => excess-- > 0);
}

/**
 * A snapshot is one frame, and whoever is sent one must not be too slow by that alone, or it would come back for it for
 * ever: above `max_bytes` complete messages are left to the history, the oldest first.
 */
export function encodeWithin(snapshot: Snapshot, max_bytes: number): string {
  const text = JSON.stringify(snapshot);
  let excess = lengthUtf8(text) - max_bytes;
  if (excess <= 0) return text;
  const isLeft = (message: Message): boolean => {
    if (excess <= 0) return false;
    excess -= lengthUtf8(JSON.stringify(message));
    return true;
  };
  return JSON.stringify(without(snapshot, isLeft));
}

/** Leaves complete messages to the history, asked oldest first, and the ended runs that no message is left of. */
function without(snapshot: Snapshot, isLeft: (message: Message) => boolean): Snapshot {
  const messages = snapshot.messages.filter((message) => message.status === "streaming" || !isLeft(message));
  const sent = new Set(messages.map(({ run_id }) => run_id));
  const runs = snapshot.runs.filter(({ run_id, ended_at }) => ended_at === undefined || sent.has(run_id));
  const has_more = snapshot.has_more || messages.length < snapshot.messages.length;
  return { ...snapshot, messages, runs, has_more };
}

/** The messages being written, as they are at the tail's head. */
export function openOf(tail: Tail, name: string): Message[] {
  return [...tail.open.values()].map(({ seq, message }) => ({ session_id: name, seq, ...viewOf(message) }));
}

export function messageView(row: MessageRow, name: string): Message {
  return { session_id: name, seq: row.seq, ...(JSON.parse(row.data) as Omit<Message, "session_id" | "seq">) };
}

function knows(transcript: Transcript, message_id: string | undefined): boolean {
  return transcript.messages.some((message) => message.message_id === message_id);
}
