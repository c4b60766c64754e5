import type { Role, RunStatus, Usage } from "../protocol/entities.ts";
import type { GatewayError } from "../protocol/errors.ts";
import type { StoredEvent } from "../protocol/frames.ts";

/** Time, injected: core never reads a clock or sets a timer otherwise. */
export interface Clock {
  /** Milliseconds since 1970, may jump. */
  now(): number;
  /** Milliseconds from some start, never goes back. */
  monotonic(): number;
  /** Calls `task` once after `ms`; the answer cancels it (idempotent). */
  after(ms: number, task: () => void): () => void;
  /** Calls `task` every `ms` until cancelled. */
  every(ms: number, task: () => void): () => void;
}

export interface Logger {
  debug(fields: Record<string, unknown>, message: string): void;
  info(fields: Record<string, unknown>, message: string): void;
  warn(fields: Record<string, unknown>, message: string): void;
  error(fields: Record<string, unknown>, message: string): void;
  child(fields: Record<string, unknown>): Logger;
}

// ---------------------------------------------------------------------------------------------- store

/** An event before it has a seq. `payload` is JSON text, made once: stored, published and replayed as it is. */
export interface NewEvent {
  readonly type: string;
  readonly ts: number;
  readonly run_id: string | null;
  readonly payload: string;
}

/** What the store knows of a session. `id` is the gateway's `ses_…`; `name` the owner's own id for it, or null. */
export interface SessionRow {
  readonly id: string;
  readonly owner: string;
  readonly name: string | null;
  readonly epoch: string;
  readonly floor: number;
  readonly head: number;
  readonly title: string;
  readonly model: string | null;
  readonly system_prompt: string | null;
  /** JSON text. */
  readonly metadata: string;
  readonly created_at: number;
  /** ts of the last event. */
  readonly updated_at: number;
  readonly message_count: number;
  readonly archived: boolean;
  /** The run with status running, if any. */
  readonly active_run_id: string | null;
}

/** A message as stored. `data` is the JSON text of an EventMessage (without session_id and seq). */
export interface MessageRow {
  readonly message_id: string;
  readonly seq: number;
  readonly role: Role;
  readonly status: "streaming" | "complete" | "partial";
  readonly data: string;
}

/** A run as stored. `data` is the JSON text of an EventRun (without session_id). */
export interface RunRow {
  readonly run_id: string;
  readonly session: string;
  readonly status: RunStatus;
  readonly data: string;
}

/** A JSON document in a named collection: tokens, auth sessions, shares and what later work adds. */
export interface RecordRow {
  readonly collection: string;
  readonly id: string;
  /** What the record belongs to (a user, a session), for listing; "" for none. */
  readonly owner: string;
  /** JSON text. */
  readonly data: string;
  /** Milliseconds since 1970, after which the store may erase it; null: never. */
  readonly expires_at: number | null;
}

/** A change written in the same transaction as the events of its operation. */
export type RowChange =
  /** Makes the session; the operation fails "exists" when `id` or (owner, name) is taken, "gone" when (owner, name)
   *  is a tombstone and `revive` is false, "full" past the owner's quota. */
  | {
      readonly kind: "session.create";
      readonly owner: string;
      readonly name: string | null;
      readonly epoch: string;
      readonly title: string;
      readonly model: string | null;
      readonly system_prompt: string | null;
      readonly metadata: string;
      readonly created_at: number;
      /** session.create alone may take the name of a deleted session again. */
      readonly revive: boolean;
    }
  | {
      readonly kind: "session.update";
      readonly title: string;
      readonly model: string | null;
      readonly system_prompt: string | null;
      readonly metadata: string;
      readonly archived: boolean;
    }
  /** Marks the session deleting, frees its name and leaves the tombstone. Content goes with EraseItem. */
  | { readonly kind: "session.close"; readonly at: number }
  /** A new message; its seq is that of `events[event]`. Fails "full" past the session's quota. */
  | {
      readonly kind: "message.put";
      readonly event: number;
      readonly message_id: string;
      readonly role: Role;
      readonly status: "streaming" | "complete" | "partial";
      readonly run_id: string | null;
      readonly data: string;
    }
  /** Fills a message that was streaming. */
  | {
      readonly kind: "message.done";
      readonly message_id: string;
      readonly status: "complete" | "partial";
      readonly data: string;
    }
  | { readonly kind: "message.drop"; readonly message_id: string }
  /** Makes or replaces a run. `event`: index of the run's first event, given when it is made. Statuses running and
   *  terminal also set and clear the session's active_run_id. */
  | {
      readonly kind: "run.put";
      readonly event?: number;
      readonly run_id: string;
      readonly status: RunStatus;
      readonly created_at: number;
      readonly data: string;
    }
  /** Remembers the answer of a mutating request. The operation fails "idempotent" (with the row) when the key is
   *  taken, "full" past the user's quota. */
  | {
      readonly kind: "idempotency";
      readonly user: string;
      readonly key: string;
      readonly fingerprint: string;
      /** JSON text of the answer without epoch and seq, which the store adds from the operation's result. */
      readonly answer: string;
      readonly created_at: number;
    }
  | { readonly kind: "record.put"; readonly record: RecordRow }
  | { readonly kind: "record.drop"; readonly collection: string; readonly id: string };

export interface IdempotencyRow {
  readonly fingerprint: string;
  readonly answer: string;
  readonly session: string | null;
  readonly epoch: string | null;
  /** seq of the operation's first event; 0 where it had none. */
  readonly seq: number;
}

/** Appends to one session (or, with session null, only writes rows that belong to none). */
export interface AppendItem {
  readonly kind: "append";
  readonly session: string | null;
  readonly run: string | null;
  /** True: the answer waits for an fsync (durability full). */
  readonly ack: boolean;
  readonly events: readonly NewEvent[];
  readonly rows: readonly RowChange[];
}
/** Reads what a tail starts from, ordered with the appends. */
export interface LoadItem {
  readonly kind: "load";
  readonly session: string;
}
/** Removes the prefix of the log older than `before` that lies before the first event of every unended run. */
export interface TrimItem {
  readonly kind: "trim";
  readonly session: string;
  readonly before: number;
  readonly max_rows: number;
}
/** Erases content of a session marked deleting, `max_rows` at most; done when nothing is left (the row included). */
export interface EraseItem {
  readonly kind: "erase";
  readonly session: string;
  readonly max_rows: number;
}
/** Copies up to `max_rows` messages after the last one copied into `into`, a session that nobody sees before the
 *  last group. The first one makes it. Copied messages take seq 1 … n, keep ids and times and lose run_id; floor = head = n. */
export interface CopyItem {
  readonly kind: "copy";
  readonly from: string;
  /** The last message to copy; null: all complete and partial ones at the first group. */
  readonly message_id: string | null;
  readonly into: string;
  readonly owner: string;
  readonly epoch: string;
  readonly title: string;
  readonly created_at: number;
  readonly max_rows: number;
  /** Remembered with the last group, in its transaction; null: the request had no key. */
  readonly remember: {
    readonly user: string;
    readonly key: string;
    readonly fingerprint: string;
    readonly answer: string;
    readonly created_at: number;
  } | null;
}
export type StoreItem = AppendItem | LoadItem | TrimItem | EraseItem | CopyItem;

export type Refusal =
  | "exists"
  | "gone"
  | "unknown"
  | "idempotent"
  | "full"
  /** An earlier operation of the same run failed in this group. */
  | "skipped";

/** What a tail is made from. */
export interface LoadedTail {
  readonly session: SessionRow;
  /** Messages still streaming: the row, and the delta and tool events written for it so far, in seq order. */
  readonly open: readonly { readonly row: MessageRow; readonly events: readonly StoredEvent[] }[];
}

export type ItemResult =
  /** append: first_seq is that of its first event (head + 1 where it has none). */
  | { readonly ok: true; readonly first_seq: number; readonly epoch: string }
  | { readonly ok: true; readonly tail: LoadedTail }
  | { readonly ok: true; readonly floor: number; readonly removed: number }
  | { readonly ok: true; readonly done: boolean }
  | {
      readonly ok: false;
      readonly reason: Refusal;
      /** reason full: which quota. */
      readonly what?: "sessions_per_user" | "messages_per_session" | "keys_per_user";
      readonly prior?: IdempotencyRow;
    };

/** The storage refused the whole group and is known to have changed nothing. */
export type StorageRefusal = "full" | "readonly" | "busy" | "nomem";
export type GroupResult =
  | { readonly ok: true; readonly results: readonly ItemResult[] }
  | { readonly ok: false; readonly refused: StorageRefusal };

export interface Page {
  readonly epoch: string;
  readonly floor: number;
  /** The store's head at the read. */
  readonly head: number;
  /** In seq order, contiguous, the first one `after + 1`; empty when there is nothing in the range. */
  readonly events: readonly StoredEvent[];
}

/** Rows of a session at one head, read in one transaction. */
export interface SnapshotRows {
  readonly session: SessionRow;
  /** Newest complete and partial messages that fit, oldest first, then nothing else: open ones come from the tail. */
  readonly messages: readonly MessageRow[];
  /** Those not ended and those of the messages sent. */
  readonly runs: readonly RunRow[];
  readonly has_more: boolean;
}

export interface HistoryQuery {
  readonly limit: number;
  readonly max_bytes: number;
  readonly before?: string;
  readonly after?: string;
}
export interface HistoryRows {
  readonly session: SessionRow;
  /** Oldest first; open messages with what was committed of them is the caller's to add from the tail. */
  readonly messages: readonly MessageRow[];
  readonly total: number;
  readonly has_more: boolean;
  /** False when `before` or `after` names no message of the session. */
  readonly found: boolean;
}

export interface SessionQuery {
  /** Sessions this user owns, and those in `shared`. */
  readonly user: string;
  readonly shared: readonly string[];
  readonly limit: number;
  /** Continue after this (updated_at, id), newest first. */
  readonly after?: { readonly updated_at: number; readonly id: string };
  /** Substring of title or name, case-insensitive. */
  readonly query?: string;
  readonly archived?: boolean;
  readonly updated_after?: number;
}
export interface RunQuery {
  readonly user: string;
  readonly shared: readonly string[];
  readonly session?: string;
  readonly status?: RunStatus;
  readonly limit: number;
  readonly after?: { readonly created_at: number; readonly id: string };
}

/** A run that had not ended when the process stopped, with what is needed to write the end it is owed. */
export interface UnendedRun {
  readonly run: RunRow;
}

export interface OpenedStore {
  /** "clean": closed properly or new. "crash": the process died. "power": epochs were drawn anew. */
  readonly last_stop: "clean" | "crash" | "power";
  readonly unended: readonly UnendedRun[];
  /** Sessions marked deleting whose erasure was cut short. */
  readonly deleting: readonly string[];
  /** Random, made once per store: the gateway's identity for clients. */
  readonly server_id: string;
}

export interface StoreTotals {
  readonly sessions: number;
  readonly messages: number;
  readonly events: number;
}

/**
 * Persistence. Asynchronous everywhere: nothing may assume that a read and a look at memory share a tick.
 * Conformance: test/adapter/store.conformance.ts, run against every implementation.
 */
export interface Store {
  readonly kind: "sqlite" | "memory" | "postgres";
  /** Once, before anything else. Rejects with a GatewayError UNAVAILABLE whose message says what to do. */
  open(): Promise<OpenedStore>;
  /**
   * Applies a group in order, in one transaction, one result per item. An item that breaks a rule fails alone, and
   * later ones of its run with it. Resolves `{ok:false}` where storage refused and nothing changed; **rejects** where
   * the outcome is unknown. Called with one group at a time.
   */
  commit(group: readonly StoreItem[]): Promise<GroupResult>;
  /** Events in (after, upto], at most 512 and 64 KiB, one larger event alone; null: no such session. */
  page(session: string, after: number, upto: number): Promise<Page | null>;
  snapshot(session: string, max_bytes: number, max_messages: number): Promise<SnapshotRows | null>;
  history(session: string, query: HistoryQuery): Promise<HistoryRows | null>;
  /** By gateway id. Sessions being made (copy) or deleted are not found. */
  session(id: string): Promise<SessionRow | null>;
  /** By the owner's name. "gone": deleted within 30 days and not made again. */
  named(owner: string, name: string): Promise<SessionRow | "gone" | null>;
  /** Whether this gateway id is that of a session `owner` deleted within 30 days. */
  deleted(id: string, owner: string): Promise<boolean>;
  sessions(query: SessionQuery): Promise<SessionRow[]>;
  run(run_id: string): Promise<RunRow | null>;
  runs(query: RunQuery): Promise<RunRow[]>;
  idempotency(user: string, key: string): Promise<IdempotencyRow | null>;
  /** Records of a collection, oldest first; with `owner` only that owner's. Expired ones are left out. */
  records(collection: string, owner?: string): Promise<RecordRow[]>;
  /** Up to `limit` sessions whose log has events older than `before` above their floor. */
  trimmable(before: number, limit: number): Promise<string[]>;
  /** Erases what has expired (idempotency keys, tombstones, records), at most `max_rows` of each; the number erased. */
  expire(now: number, max_rows: number): Promise<number>;
  totals(): Promise<StoreTotals>;
  /** Resolves when a trivial durable write works; rejects with the reason otherwise. Never called with a group in flight. */
  probe(): Promise<void>;
  /** Checkpoints, takes the running marker away, releases the lock. Idempotent. */
  close(): Promise<void>;
}

// ---------------------------------------------------------------------------------------------- provider

export interface ModelMessage {
  readonly role: Role;
  readonly content: string;
}

export interface ModelRequest {
  /** The model's id at the provider, without a provider prefix. */
  readonly model: string;
  readonly messages: readonly ModelMessage[];
  readonly session_id: string;
  readonly run_id: string;
}

/**
 * What a model stream yields. Text is well-formed UTF-16 and never splits a surrogate pair between two events.
 * Exactly one of done, error, aborted comes, last.
 */
export type ModelEvent =
  | { readonly type: "text"; readonly text: string }
  | { readonly type: "reasoning"; readonly text: string }
  | { readonly type: "usage"; readonly usage: Usage }
  /** Only before the first text or reasoning. */
  | { readonly type: "retrying"; readonly attempt: number; readonly reason: string }
  | { readonly type: "done"; readonly finish_reason: string }
  | { readonly type: "error"; readonly error: GatewayError }
  | { readonly type: "aborted" };

export interface ProviderState {
  readonly name: string;
  readonly ready: boolean;
  readonly reason?: string;
}

export interface Provider {
  readonly name: string;
  state(): ProviderState;
  /** Model ids known without asking the network. */
  models(): readonly string[];
  /** Never throws, in any phase; aborts within a tick of `signal`, upstream included. */
  stream(request: ModelRequest, options: { signal: AbortSignal }): AsyncIterable<ModelEvent>;
}

/** Picks a provider for a model name and retries, within the same contract as a provider's stream. */
export interface ModelRouter {
  /** The full name ("provider/model") a run without a choice of its own uses. */
  readonly default_model: string;
  states(): readonly ProviderState[];
  models(): readonly { readonly id: string; readonly provider: string }[];
  /** The full name a request for `model` resolves to. @throws GatewayError INVALID_REQUEST {kind:"model"} where it is not allowed. */
  resolve(model: string | null): string;
  stream(request: ModelRequest, options: { signal: AbortSignal }): AsyncIterable<ModelEvent>;
}
