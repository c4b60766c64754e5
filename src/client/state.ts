import type { Approval, Message, Session, Snapshot } from "../protocol/entities.ts";
import type { EventFrame } from "../protocol/frames.ts";
import type { ClientError } from "./error.ts";
import type { FoldedMessage, FoldedRun } from "./change.ts";
import { createTranscript } from "./fold.ts";
import type { Opening, ParamsFor } from "./methods.ts";
import { wait } from "./request.ts";
import { tell } from "./tell.ts";
import type { Cursor } from "./subscription.ts";

/** How a message is sent. */
export interface SendChoices {
  readonly model?: string;
  /** attachment_ids of uploads; the message may be empty with them. */
  readonly attachments?: string[];
  /** What happens when the session has a run already. */
  readonly on_busy?: NonNullable<ParamsFor<"chat.send">["on_busy"]>;
  readonly metadata?: Record<string, unknown>;
}

/** A message that was sent here and is not in the log yet. */
export interface PendingMessage {
  readonly idempotency_key: string;
  readonly message: string;
  /** How it was sent: to send it again it is sent as it was. */
  readonly options: SendChoices;
  /** "waiting": for a connection, or for the gateway's answer. "failed": send it again with the same key, or dismiss it. */
  readonly status: "waiting" | "failed";
  readonly error?: ClientError;
  readonly created_at: number;
}

/** All that is known of a session at one moment. Never changed; what did not change is the same object as before. */
export interface SessionSnapshot {
  /**
   * "idle": nobody follows it. "loading": nothing is known yet. "catching_up": what came meanwhile is being read. "live".
   * "offline": there is no connection. "absent": there is no such session (yet). "ended": `error` says why.
   * With "offline" an error is why the client has given up.
   */
  readonly status: "idle" | "loading" | "catching_up" | "live" | "offline" | "absent" | "ended";
  readonly session: Readonly<Session> | null;
  /** In the order of the log; the last ones while `has_more`. */
  readonly messages: readonly FoldedMessage[];
  readonly runs: readonly FoldedRun[];
  /** Calls of tools that wait for an answer, oldest first. */
  readonly approvals: readonly Approval[];
  /** Messages on their way, in the order they were sent. */
  readonly pending: readonly PendingMessage[];
  /** There are older messages: ClientSession.loadOlder() brings them. */
  readonly has_more: boolean;
  readonly cursor: Cursor | null;
  readonly error: ClientError | null;
}

/** A session that can be watched: the two functions are what React's useSyncExternalStore takes. */
export interface SessionState {
  /** Follows the session while somebody listens. The listener is called after every change; the answer takes it back. */
  readonly subscribe: (listener: () => void) => () => void;
  /** The same object until something changes. */
  readonly getSnapshot: () => SessionSnapshot;
  /** Follows the session until the condition holds. @throws ClientError ABORTED, or why the session ended */
  until(
    holds: (snapshot: SessionSnapshot) => boolean,
    options?: { readonly signal?: AbortSignal },
  ): Promise<SessionSnapshot>;
  /** Takes a failed message off the list. */
  dismiss(idempotency_key: string): void;
}

/** Where in the log a message is that was sent here. */
type Taken = Cursor & { readonly message_id: string };

type Part = "messages" | "runs" | "approvals" | "pending";
const PARTS: readonly Part[] = ["messages", "runs", "approvals", "pending"];
/** Failed messages that are kept for somebody to look at. */
const PENDING_MAX = 100;

/** What is known of a session: fed by whoever follows it, read by whoever listens. */
export class FoldedState implements SessionState {
  cursor: Cursor | null = null;
  readonly #follow: () => () => void;
  readonly #onPending: (dismissed?: string) => void;
  readonly #transcript = createTranscript();
  readonly #listeners = new Set<() => void>();
  readonly #pending = new Map<string, PendingMessage & { sent?: Taken }>();
  readonly #changed = new Set(PARTS);
  #status: SessionSnapshot["status"] = "idle";
  #online = true;
  #has_more = false;
  #error: ClientError | null = null;
  #snapshot!: SessionSnapshot;
  #stale = true;

  /** `follow` is called for every listener, its answer when the listener leaves; `onDismiss` when a message is taken off the list. */
  constructor(follow: () => () => void, onPending: (dismissed?: string) => void) {
    this.#follow = follow;
    this.#onPending = onPending;
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    // The same function may listen twice.
    const own = (): void => listener();
    this.#listeners.add(own);
    const leave = this.#follow();
    return () => {
      if (this.#listeners.delete(own)) leave();
    };
  };

  readonly getSnapshot = (): SessionSnapshot => {
    if (!this.#stale) return this.#snapshot;
    this.#stale = false;
    const { session, messages, runs, approvals } = this.#transcript;
    const has = (part: Part): boolean => this.#changed.has(part);
    const before = this.#snapshot;
    this.#snapshot = {
      status: this.#online || this.#status === "idle" || this.#status === "ended" ? this.#status : "offline",
      session,
      messages: has("messages") ? [...messages.values()] : before.messages,
      runs: has("runs") ? [...runs.values()] : before.runs,
      approvals: has("approvals") ? [...approvals.values()] : before.approvals,
      pending: has("pending") ? this.#waiting() : before.pending,
      has_more: this.#has_more,
      cursor: this.cursor,
      error: this.#error,
    };
    this.#changed.clear();
    return this.#snapshot;
  };

  until(
    holds: (snapshot: SessionSnapshot) => boolean,
    { signal }: { readonly signal?: AbortSignal } = {},
  ): Promise<SessionSnapshot> {
    return wait({ signal }, "", (resolve, reject) => {
      const look = (): void => {
        const snapshot = this.getSnapshot();
        if (holds(snapshot)) resolve(snapshot);
        else if (snapshot.error !== null) reject(snapshot.error);
      };
      const leave = this.subscribe(look);
      look();
      return leave;
    });
  }

  dismiss(idempotency_key: string): void {
    if (!this.#pending.delete(idempotency_key)) return;
    this.#onPending(idempotency_key);
    this.#tell("pending");
  }

  /** Whether there is a connection. */
  online(online: boolean): void {
    if (this.#online === online) return;
    this.#online = online;
    // What was live will have to catch up.
    if (!online && this.#status === "live") this.#status = "catching_up";
    this.#tell();
  }

  /** Whether a message is on its way, or waits for somebody to look at it. */
  get isPending(): boolean {
    return this.#pending.size > 0;
  }

  get over(): boolean {
    return this.#status === "ended";
  }

  followed(followed: boolean): void {
    if (followed) this.#status = this.cursor === null ? "loading" : "catching_up";
    else if (this.#status !== "ended" && this.#status !== "absent") this.#status = "idle";
    if (followed) this.#error = null;
    this.#tell();
  }

  opened({ epoch, from, snapshot }: Opening): void {
    this.#status = "catching_up";
    if (snapshot !== undefined) {
      this.#transcript.replace(snapshot);
      this.#has_more = snapshot.has_more;
      this.cursor = { epoch, seq: from };
    }
    this.#settlePending();
    this.#tell(...PARTS);
  }

  /** Takes each event once; false: something before it is missing. */
  take(frame: EventFrame): boolean {
    const { epoch, seq } = frame;
    if (epoch === undefined || seq === undefined) return true;
    if (this.cursor?.epoch === epoch && seq <= this.cursor.seq) return true;
    const change = this.#transcript.apply(frame);
    if (change.kind === "gap") return false;
    this.cursor = { epoch, seq };
    if (change.kind === "run") this.#changed.add("runs");
    else if (change.kind === "approval" || change.kind === "resolved") this.#changed.add("approvals");
    else if (change.kind !== "none" && change.kind !== "session") this.#changed.add("messages");
    if (change.kind === "message") this.#settlePending();
    this.#stale = true;
    // Whoever is far behind is not shown every step.
    if (this.#status === "live") this.#tell();
    return true;
  }

  synced(): void {
    this.#status = "live";
    this.#tell();
  }

  /** `over`: of the session itself, for good. */
  ended(error: ClientError, over: boolean): void {
    const absent = error.code === "NOT_FOUND";
    this.#status = absent ? "absent" : over ? "ended" : "catching_up";
    this.#error = absent ? null : error;
    this.#tell();
  }

  /** What is known, as an opening for somebody who knows nothing; null: nothing is. */
  toOpening(): Opening | null {
    const { session, messages, runs, approvals, has_more } = this.getSnapshot();
    if (this.cursor === null || session === null) return null;
    const { epoch, seq } = this.cursor;
    const snapshot = { session, messages, runs, approvals, has_more } as Snapshot;
    return { mode: "snapshot", epoch, from: seq, head: seq, snapshot };
  }

  /** Older messages, as the history tells them. */
  prepend(older: readonly Message[], has_more: boolean): void {
    this.#transcript.prepend(older);
    this.#has_more = has_more;
    this.#tell("messages");
  }

  queued(idempotency_key: string, message: string, options: SendChoices, created_at: number): void {
    this.#pending.delete(idempotency_key);
    this.#pending.set(idempotency_key, { idempotency_key, message, options, status: "waiting", created_at });
    for (const [key, { status }] of this.#pending) {
      if (this.#pending.size <= PENDING_MAX) break;
      if (status === "failed") this.#pending.delete(key);
    }
    this.#tell("pending");
  }

  /** The gateway has it; where the session is followed it is shown as pending until it is read in the log. */
  accepted(idempotency_key: string, sent: Taken, followed: boolean): void {
    const pending = this.#pending.get(idempotency_key);
    if (pending === undefined) return;
    if (followed) this.#pending.set(idempotency_key, { ...pending, sent });
    else this.#pending.delete(idempotency_key);
    this.#settlePending();
    this.#tell("pending");
  }

  failed(idempotency_key: string, error: ClientError): void {
    const pending = this.#pending.get(idempotency_key);
    if (pending === undefined) return;
    this.#pending.set(idempotency_key, { ...pending, status: "failed", error });
    this.#tell("pending");
  }

  /** What is in the log is not on its way any more. */
  #settlePending(): void {
    const { cursor } = this;
    for (const [key, { sent }] of this.#pending) {
      if (sent === undefined) continue;
      // A snapshot may leave it out: it is in the log all the same.
      const passed = cursor !== null && (cursor.epoch !== sent.epoch || cursor.seq >= sent.seq);
      if (!passed && !this.#transcript.messages.has(sent.message_id)) continue;
      this.#pending.delete(key);
      this.#changed.add("pending");
    }
  }

  #waiting(): PendingMessage[] {
    return [...this.#pending.values()].map(({ sent: _, ...pending }) => pending);
  }

  #tell(...parts: Part[]): void {
    for (const part of parts) this.#changed.add(part);
    this.#stale = true;
    if (this.#changed.has("pending")) this.#onPending();
    tell(this.#listeners, undefined);
  }
}
