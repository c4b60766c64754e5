import type { RunStatus } from "../protocol/entities.ts";
import type { StoredEvent } from "../protocol/frames.ts";
import type { SearchTerms } from "./search.ts";
import type { AttachmentRow } from "./attachment.ts";
import type { Cluster } from "./cluster.ts";
import type {
  Covers,
  AuditRow,
  GroupResult,
  IdempotencyRow,
  MessageRow,
  RunRow,
  SessionRow,
  StoreItem,
} from "./operation.ts";
import type { RecordRow } from "./record.ts";
import type { UsageQuery, UsageRow } from "./usage.ts";

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
  /** What `after` and `before` stand for: messages with a seq between the two were asked for. */
  readonly range: { readonly after: number; readonly before: number };
}

/** What a model may be shown of a session, read in one transaction. */
export interface ContextRows {
  readonly session: SessionRow;
  /** The newest summary. */
  readonly summary: (MessageRow & { readonly covers: Covers }) | null;
  /**
   * The newest complete and partial messages that fit, oldest first, from the first one the summary does not cover. Some
   * that it does cover, and the summary itself, may be among them.
   */
  readonly messages: readonly MessageRow[];
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

export interface SearchQuery {
  /** Messages of sessions this user owns, and of those in `shared`. */
  readonly user: string;
  readonly shared: readonly string[];
  /** Only of this one. */
  readonly session?: string;
  readonly terms: SearchTerms;
  readonly limit: number;
  /** Continue after the message of this place. */
  readonly before?: number;
}
export interface FoundMessage {
  /** Larger: found later. */
  readonly place: number;
  /** The gateway's id. */
  readonly session: string;
  readonly message: MessageRow;
}
export interface FoundMessages {
  /** The newest first. */
  readonly found: readonly FoundMessage[];
  /** Where to go on, also where few were found among many; null: there are no more. */
  readonly next: number | null;
}

export interface AuditQuery {
  readonly limit: number;
  /** Entries with a smaller id. */
  readonly before?: number;
  readonly user?: string;
  /** A whole name, or its first part: "token" finds token.create too. */
  readonly action?: string;
  /** "ok", an error code, or "refused" for every one of them. */
  readonly outcome?: string;
  /** Not older than this, milliseconds since 1970. */
  readonly since?: number;
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
  /** The database was one of an older version, and where it is kept as it was. */
  readonly upgraded?: { readonly from: number; readonly kept: string };
  /** Random, made once per store: the gateway's identity for clients. */
  readonly server_id: string;
}

/** How full a store is that has a bound of its own. */
export interface StoreRoom {
  /** What is free inside of it is not counted. */
  readonly used_bytes: number;
  /** Past so many it refuses ("full"). */
  readonly max_bytes: number;
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
  /** Undefined: no other node shares it. */
  readonly cluster?: Cluster;
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
  /** At most `limit` messages and `max_bytes`, the summary not counted; null: no such session. */
  context(session: string, limit: number, max_bytes: number): Promise<ContextRows | null>;
  /** Messages of a run, oldest first, those being written as they were begun; of a session being deleted, too. */
  runMessages(session: string, run_id: string): Promise<MessageRow[]>;
  /** By gateway id. Sessions being made (copy) or deleted are not found. */
  session(id: string): Promise<SessionRow | null>;
  /** By the owner's name. "gone": deleted within 30 days and not made again. */
  named(owner: string, name: string): Promise<SessionRow | "gone" | null>;
  /** Whether this gateway id is that of a session `owner` deleted within 30 days. */
  deleted(id: string, owner: string): Promise<boolean>;
  sessions(query: SessionQuery): Promise<SessionRow[]>;
  /** Up to `limit` sessions that are archived, whoever owns them: those in which nothing happened for the longest. */
  archived(limit: number): Promise<SessionRow[]>;
  /** Every user who owns sessions, by name, and how many (those that are being made count, those being deleted do not). */
  owners(): Promise<{ user: string; sessions: number }[]>;
  run(run_id: string): Promise<RunRow | null>;
  runs(query: RunQuery): Promise<RunRow[]>;
  idempotency(user: string, key: string): Promise<IdempotencyRow | null>;
  /** Records of a collection, oldest first; with `owner` only that owner's. Expired ones are left out. */
  records(collection: string, owner?: string): Promise<RecordRow[]>;
  /** One of them; null where there is none, or it has expired. */
  record(collection: string, id: string): Promise<RecordRow | null>;
  /** Those of these uploads that are the user's and have not expired. */
  uploads(user: string, attachment_ids: readonly string[]): Promise<AttachmentRow[]>;
  /** A file that a message of the session names. */
  attachment(session: string, attachment_id: string): Promise<AttachmentRow | null>;
  /** The nth piece of its content, all but the last of one size; null: there is none. */
  piece(session: string, attachment_id: string, n: number): Promise<Uint8Array | null>;
  /** What users and models said, as far as it was indexed: at most so many, and at most so many looked at. */
  search(query: SearchQuery): Promise<FoundMessages>;
  /** Makes up to `max_messages` that are complete findable, or erases words of deleted ones; 0: nothing is left to do. */
  index(max_messages: number): Promise<number>;
  /** The audit trail, newest first. */
  audit(query: AuditQuery): Promise<AuditRow[]>;
  /** What models were used for. Of sessions that are gone the days of their users still tell. */
  usage(query: UsageQuery): Promise<UsageRow[]>;
  /** Up to `limit` sessions whose log has events older than `before` above their floor. */
  trimmable(before: number, limit: number): Promise<string[]>;
  /**
   * Erases what has expired (idempotency keys, tombstones, records, audit entries, days of usage, uploads), at most
   * `max_rows` of each, and of the
   * audit trail what is over its bound: the oldest of the user who has the most, so that nobody pushes out what others
   * did. The number erased.
   */
  expire(now: number, max_rows: number): Promise<number>;
  totals(): Promise<StoreTotals>;
  /** How full it is; null: it has no bound of its own. */
  room(): Promise<StoreRoom | null>;
  /** What was erased is nowhere in its files any more; false: in a while, when this is asked again. */
  scrub(): Promise<boolean>;
  /** Resolves when a trivial durable write works; rejects with the reason otherwise. Never called with a group in flight. */
  probe(): Promise<void>;
  /** Resolves once what writes in this process has answered, whatever it does besides; nothing is written. Rejects where it is gone. */
  answers(): Promise<void>;
  /** Checkpoints, takes the running marker away, releases the lock. Idempotent. */
  close(): Promise<void>;
}
