import type { LoadedTail } from "./operation.ts";
import type { SessionRef } from "./session.ts";
import type { Page } from "./store.ts";

export interface RecordKey {
  readonly collection: string;
  readonly id: string;
}
/** What `onRecords` calls sessions that were deleted or given to another user: their rows, not records. */
export const SESSIONS = "session";

/** How far the log of a session goes, as the store has it. */
export interface Head {
  readonly id: string;
  readonly epoch: string;
  readonly floor: number;
  readonly head: number;
}

/** Who has a session: this node, another one that lives, or nobody; "gone": there is no such session. */
export type Place = "here" | "elsewhere" | "nobody" | "gone";

/** What the node that has a session is asked to do in it. */
export interface NodeCall {
  /** Made by the node that asks. */
  readonly id: string;
  readonly session: string;
  /** JSON text. */
  readonly body: string;
}

/** What became of a call, and who has its session. */
export interface CallState {
  readonly id: string;
  /** JSON text; null: it was not answered yet. */
  readonly answer: string | null;
  readonly place: Place;
}

export interface CallAnswer {
  readonly id: string;
  /** JSON text. */
  readonly answer: string;
  /** Whose idempotency key the id was: it is no more, for an answered call is carried out by nobody. Null: nobody's. */
  readonly key_of: string | null;
}

/**
 * Calls from node to node. They stand in the store until they are answered, so that whoever has the session next finds what
 * the last one left. Of calls that one node puts after one another the order is kept.
 */
export interface Calls {
  /** Resolves once they are on disk. The same id may be put again: it counts once. */
  put(calls: readonly NodeCall[]): Promise<CallState[]>;
  /** Those to sessions of this node that were not answered, in their order, without the `except`. */
  waiting(except: readonly string[], limit: number): Promise<NodeCall[]>;
  answer(answers: readonly CallAnswer[]): Promise<void>;
  /** Puts another body in the place of the one that was read; false: it is not there any more, or was answered. */
  amend(call: NodeCall, body: string): Promise<boolean>;
  /** Of these, as far as they are there. */
  states(ids: readonly string[]): Promise<CallState[]>;
  /** Once the store is open: told when there may be something new. A hint, late or lost. Ends with what is answered. */
  onNews(listener: (what: "asked" | "answered") => void): () => void;
}

export interface PeerAnswer {
  /** The name of the node, for people. */
  readonly node: string;
  /** JSON. */
  readonly body: unknown;
}

export interface PeerAnswers {
  readonly answers: readonly PeerAnswer[];
  /** Names of nodes that live and did not answer in time. */
  readonly missing: readonly string[];
}

/**
 * What nodes say to one another, as JSON: at most 8 MiB at once. Late or lost at times, so nothing depends on it that must
 * not be lost. What one node says is heard in its order. Where no other node lives it costs nothing.
 */
export interface Peers {
  /** Said to every other node. Never throws. */
  tell(body: unknown): void;
  /** Asks every other node; resolves when all that live have answered, after `ms` at the latest. Never rejects. */
  ask(body: unknown, ms: number): Promise<PeerAnswers>;
  /** Ends with what is answered. */
  onTold(listener: (body: unknown) => void): () => void;
  /** One answers what is asked; without one it is null. Ends with what is answered. */
  onAsked(answer: (body: unknown) => unknown): () => void;
}

/** A session as those who may read it see it in a list. */
export interface Summary extends Head {
  readonly owner: string;
  readonly name: string | null;
  readonly title: string;
  readonly updated_at: number;
  readonly active_run_id: string | null;
  /** How many of its approvals nobody answered. */
  readonly approvals: number;
}

/** Which sessions: those of them that one of `users` owns, and those of them that are in `shared`. */
export interface SummaryQuery {
  /** Null: those that changed since then (ms since 1970), the latest first. */
  readonly ids: readonly string[] | null;
  readonly since: number;
  readonly users: readonly string[];
  readonly shared: readonly string[];
  readonly limit: number;
}

/** What a store that several nodes share knows of them. */
export interface Cluster {
  /** The name of this node's data directory: no other node has it. Once the store is open. */
  node(): string;
  /** A secret that all nodes have in common, kept in the database: what the first of them offered. */
  key(offered: string): Promise<string>;
  /** Whether this node may act for the sessions it has, at this moment: asked before a tool is started, too. */
  leased(): boolean;
  /** Whether this node, and no other, does what is done once for all of them. */
  leads(): boolean;
  /** Told when that changes. Ends with what is answered. */
  onLeads(listener: (leads: boolean) => void): () => void;
  /**
   * Once the store is open: tells of sessions whose log grew on other nodes; null: some may have grown of which nobody
   * told. A hint alone, late or lost: who follows a session looks by itself now and then. Ends with what is answered.
   */
  onGrown(listener: (sessions: readonly string[] | null) => void): () => void;
  /** What a tail starts from, as the log is now; nothing is taken. Null: there is no such session. */
  tail(session: string): Promise<LoadedTail | null>;
  /** As Store.page, up to the end, which is there for a moment after the session was deleted. */
  page(session: string, after: number): Promise<Page | null>;
  /**
   * Lets any node have sessions that this one has: these, or (null) all `but` some; then none is taken over any more. What is
   * being written is left out, and so is what a run goes on in.
   */
  release(sessions: readonly string[] | null, but?: readonly string[]): Promise<void>;
  /** Nothing of a session is in memory any more, nor on its way into the log: what is appended next is loaded first. */
  forget(session: string): void;
  /** Of these sessions, as far as they are there. */
  heads(sessions: readonly string[]): Promise<Head[]>;
  /** Whose they are and what they call them, of these sessions, as far as they are there. */
  refs(sessions: readonly string[]): Promise<SessionRef[]>;
  /** How sessions are now. */
  summaries(query: SummaryQuery): Promise<Summary[]>;
  readonly calls: Calls;
  /**
   * Once the store is open: tells of records that were put or dropped, in the order of the commits, `isOwn` by this node
   * itself; null: some may have been of which nobody told, so that all are to be read again. Ends with what is answered.
   */
  onRecords(listener: (changed: readonly RecordKey[] | null, isOwn: boolean) => void): () => void;
  /**
   * Resolves once `onRecords` told of everything that was committed before the call; false where nobody can say. Any number
   * of callers cost one message to the database at a time.
   */
  heardAll(): Promise<boolean>;
  /**
   * Says something to the other nodes, at most 4,000 bytes of it. Late or lost at times; never throws. Unlike what `peers` say
   * nothing of it is ever in a table: it may be what a stranger made this node say.
   */
  tell(topic: string, text: string): void;
  /** What other nodes say. Ends with what is answered. */
  onTold(topic: string, listener: (text: string) => void): () => void;
  readonly peers: Peers;
  /** What people call this node. Once the store is open. */
  name(): string;
}
