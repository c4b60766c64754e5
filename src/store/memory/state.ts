import type { AttachmentRow } from "../../core/attachment.ts";
import type {
  Covers,
  AuditRow,
  IdempotencyRow,
  MessageRow,
  RunRow,
  SessionRow,
} from "../../core/operation.ts";
import type { RecordRow } from "../../core/record.ts";
import type { UsageEntry } from "../../core/usage.ts";
import type { StoredEvent } from "../../protocol/frames.ts";

export interface MemoryMessage {
  readonly row: MessageRow;
  readonly run_id: string | null;
  /** It is a summary, of these. */
  readonly covers?: Covers;
}

export interface MemoryRun {
  readonly row: RunRow;
  readonly created_at: number;
  readonly first_seq: number;
}

/** How far a copy has come: messages of `from` in (after, upto], without those that were open when it began. */
export interface MemoryCopy {
  readonly from: string;
  readonly upto: number;
  readonly after: number;
  readonly skip: ReadonlySet<string>;
}

export interface MemoryFile {
  readonly row: AttachmentRow;
  readonly pieces: readonly Uint8Array[];
}

export interface MemoryReceiving {
  readonly user: string;
  readonly pieces: readonly Uint8Array[];
  readonly expires_at: number;
}

/** What takes an operation back, in the order it was done. */
export type Undo = (() => void)[];

export interface MemorySession {
  row: SessionRow;
  state: "live" | "copying" | "deleting";
  /** (floor, head], in seq order. */
  readonly events: StoredEvent[];
  readonly messages: Map<string, MemoryMessage>;
  /** What its messages name, by id. */
  readonly files: Map<string, MemoryFile>;
  copy: MemoryCopy | null;
}

export interface MemoryKey {
  readonly user: string;
  readonly row: IdempotencyRow;
  readonly created_at: number;
}

export interface MemoryTombstone {
  readonly owner: string;
  readonly name: string | null;
  readonly epoch: string;
  readonly deleted_at: number;
}

export interface MemoryRecord {
  readonly row: RecordRow;
  /** Where it stands in its collection, oldest first. */
  readonly place: number;
}

export interface MemoryAudit {
  /** Oldest first. */
  rows: AuditRow[];
  last_id: number;
}

/** By their keys, each with all that was used of one model, in one currency, on one day. */
export interface MemoryUsage {
  readonly days: Map<string, UsageEntry>;
  readonly sessions: Map<string, UsageEntry & { readonly session: string }>;
}

export interface MemoryState {
  readonly server_id: string;
  readonly sessions: Map<string, MemorySession>;
  readonly runs: Map<string, MemoryRun>;
  readonly keys: Map<string, MemoryKey>;
  /** By the session's gateway id. */
  readonly tombstones: Map<string, MemoryTombstone>;
  readonly records: Map<string, MemoryRecord>;
  readonly audit: MemoryAudit;
  readonly usage: MemoryUsage;
  readonly receiving: Map<string, MemoryReceiving>;
  readonly uploads: Map<string, MemoryFile & MemoryReceiving>;
  /** Messages that can be found, by session and id, in the order in which they were made so. */
  readonly searched: Map<string, { readonly session: string; readonly place: number }>;
}

export function newState(): MemoryState {
  return {
    server_id: crypto.randomUUID(),
    sessions: new Map(),
    runs: new Map(),
    keys: new Map(),
    tombstones: new Map(),
    records: new Map(),
    audit: { rows: [], last_id: 0 },
    usage: { days: new Map(), sessions: new Map() },
    receiving: new Map(),
    uploads: new Map(),
    searched: new Map(),
  };
}

/** One map key of two strings. */
export function pair(a: string, b: string): string {
  return JSON.stringify([a, b]);
}

export function liveSession(state: MemoryState, id: string): MemorySession | null {
  const session = state.sessions.get(id);
  return session?.state === "live" ? session : null;
}

export function messagesBySeq(session: MemorySession): MemoryMessage[] {
  return [...session.messages.values()].toSorted((a, b) => a.row.seq - b.row.seq);
}

export function unendedRuns(state: MemoryState, session: string): MemoryRun[] {
  return [...state.runs.values()]
    .filter(({ row }) => row.session === session && (row.status === "queued" || row.status === "running"))
    .toSorted(oldestRunFirst);
}

export function oldestRunFirst(a: MemoryRun, b: MemoryRun): number {
  return a.first_seq - b.first_seq || (a.row.run_id < b.row.run_id ? -1 : 1);
}

/** Sessions a user's quota counts: all but those being deleted. */
export function countSessions(state: MemoryState, owner: string): number {
  let count = 0;
  for (const session of state.sessions.values()) {
    if (session.row.owner === owner && session.state !== "deleting") count++;
  }
  return count;
}
