import type { Role, RunStatus } from "../protocol/entities.ts";
import type { StoredEvent } from "../protocol/frames.ts";
import type { RecordChange } from "./record.ts";
import type { UsageEntry } from "./usage.ts";
import type { AttachmentChange } from "./attachment.ts";

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

/** What a summary stands for, by ids, which a copy of the session keeps: every message up to and with `through`. */
export interface Covers {
  readonly through: string;
  /** Those before it that waited for their runs, and so were not summarised. */
  readonly except: readonly string[];
}

/** A run as stored. `data` is the JSON text of an EventRun (without session_id). */
export interface RunRow {
  readonly run_id: string;
  readonly session: string;
  readonly status: RunStatus;
  readonly data: string;
}

/**
 * An entry of the audit trail: what somebody did, or tried to. It holds no secret and no text of a message. Texts are
 * "" and ids null where there is nothing to say.
 */
export interface AuditEntry {
  readonly ts: number;
  /** The name of a method, or what happened without one: login, token.expire, config.change … */
  readonly action: string;
  /** "ok", or the code of the error it was refused with. */
  readonly outcome: string;
  readonly user: string;
  /** How the user had come in: token, password …; of a refused login what was presented. */
  readonly method: string;
  /** Id of the credential. */
  readonly credential: string | null;
  readonly transport: string;
  readonly remote: string;
  readonly client_id: string;
  /** Id of what it concerned. */
  readonly target: string | null;
  /** JSON text of an object: what else there is to know of it. */
  readonly details: string | null;
  /** How often it happened since the entry like it before. */
  readonly count: number;
}
export interface AuditRow extends AuditEntry {
  /** Grows with every entry; never used again. */
  readonly id: number;
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
  /** Gives the session to another user, who may have more of them than the quota then, except of those that were imported. It
   *  loses its name, or is called `name` from then on; the operation fails "exists" when (owner, name) is taken. */
  | { readonly kind: "session.transfer"; readonly owner: string; readonly name?: string }
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
  /** Fills a message that was streaming. `covers` makes it a summary. */
  | {
      readonly kind: "message.done";
      readonly message_id: string;
      readonly status: "complete" | "partial";
      readonly data: string;
      readonly covers?: Covers;
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
      /** No bound of the user refuses it. */
      readonly of_call?: true;
    }
  | RecordChange
  | { readonly kind: "audit"; readonly entry: AuditEntry }
  /** Adds to what was used that day by its user and, where the operation has a session, in that session. */
  | { readonly kind: "usage.add"; readonly entry: UsageEntry }
  | AttachmentChange;

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
/** Erases what is remembered of a user besides sessions and records, `max_rows` at most; done when nothing is left. */
export interface ForgetItem {
  readonly kind: "forget";
  readonly user: string;
  readonly max_rows: number;
}
export type StoreItem = AppendItem | LoadItem | TrimItem | EraseItem | CopyItem | ForgetItem;

export type Refusal =
  | "exists"
  | "gone"
  | "unknown"
  | "idempotent"
  | "full"
  /** A file that a message names is not there. */
  | "attachment"
  /** A record is not what the operation takes it for: somebody changed it in between. */
  | "changed"
  /** Another node has the session, or has had it since its tail was loaded. */
  | "elsewhere"
  /** An earlier operation of the same run failed in this group. */
  | "skipped";

export type Quota =
  | "sessions_per_user"
  | "messages_per_session"
  | "keys_per_user"
  | "attachments_per_user"
  | "attachment_bytes_per_user"
  /** The database has no room for files. */
  | "room";

/** What a tail is made from. */
export interface LoadedTail {
  readonly session: SessionRow;
  /** Messages still streaming: the row, and the delta and tool events written for it so far, in seq order. */
  readonly open: readonly { readonly row: MessageRow; readonly events: readonly StoredEvent[] }[];
  /** JSON text of the session's approvals that nobody answered, oldest first. */
  readonly approvals: readonly string[];
  /** Runs without an end, in order, where another node may have left them. */
  readonly unended?: readonly RunRow[];
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
      readonly what?: Quota;
      readonly prior?: IdempotencyRow;
    };

/**
 * The storage refused the whole group and is known to have changed nothing. unreachable: the database does not answer;
 * lease: this node did not say in time that it lives, so that others may have taken its sessions.
 */
export type StorageRefusal = "full" | "readonly" | "busy" | "nomem" | "unreachable" | "lease";
export type GroupResult =
  | { readonly ok: true; readonly results: readonly ItemResult[] }
  | { readonly ok: false; readonly refused: StorageRefusal };
