import type { StoredEvent } from "../protocol/frames.ts";
import { isImporter } from "./importing.ts";
import type { NewEvent, RowChange } from "./operation.ts";
import type { RecordChange, RecordRow } from "./record.ts";
import type { SessionRef } from "./session.ts";

/** Sessions in whose log is something that somebody outside has not got yet, by the gateway's ids. */
export const OWED = "webhook_owed";
/** Deliveries that were given up; their owners are the sessions they tell of. */
export const DEAD = "webhook_dead";
/** What would have been posted of them: apart, for it is long and seldom asked for. */
export const DEAD_BODY = "webhook_dead_body";

/** Sessions of which it is remembered how far everybody had them. */
const PAID_KEPT = 10_000;

/** What is still to be read of a session's log. */
export interface Debt {
  readonly session_id: string;
  /** Null: nothing was written to it here. */
  session: SessionRef | null;
  /** Events that are older are owed to nobody. Milliseconds since 1970. */
  since: number;
  /** How far each webhook has got it. */
  readonly cursors: Map<string, number>;
  /** Webhooks that were read something of it that is owed: all that follows is, too. */
  readonly begun: Set<string>;
  /** Webhooks that came, or were turned on, when there was something of it: they are owed nothing that is older than they. */
  readonly late: Set<string>;
  /** Before the first event that is owed; null: that is not known after a restart. */
  from: number | null;
  /** The last one that is owed; what is not known after a restart, or of another node, is Infinity. */
  head: number;
  /** How often it was heard that there is more of it than is known. */
  grown: number;
}

interface Entry extends Debt {
  /** Operations with such events that are on their way into the log. */
  open: number;
  /** It is in the store. */
  isKept: boolean;
}

interface Mark {
  readonly rows: readonly RowChange[];
  /** It was written, or not. */
  readonly settled: (ok: boolean) => void;
}

/**
 * Knows whose log has to be read for the sake of webhooks. That something is owed is written in the transaction of the first
 * event that is, so that no moment at which the process dies has it forgotten; from then on the log itself is the queue.
 */
export class Owed {
  /** Other nodes write to the store, too: one of them delivers, and any may append. */
  readonly #isShared: boolean;
  /** How far everybody had sessions of which nothing was owed any more, lately. */
  readonly #paid = new Map<string, number>();
  readonly #entries = new Map<string, Entry>();
  #wanted: readonly string[] = [];
  /** Told when there is more to read of a session. */
  onOwed: (session_id: string) => void = () => undefined;

  constructor(isShared = false) {
    this.#isShared = isShared;
  }

  /** Types of events, or their beginnings with a `*` behind them. */
  want(types: readonly string[]): void {
    this.#wanted = types;
  }

  wants(type: string): boolean {
    return this.#wanted.some((wanted) => isOf(type, wanted));
  }

  /** Asked of every operation before it is queued; null: nothing of it is owed. */
  mark(session: SessionRef | null, events: readonly NewEvent[]): Mark | null {
    // What was said elsewhere, long ago, is no news.
    if (session === null || this.#wanted.length === 0 || isImporter(session.owner)) return null;
    const first = events.find(({ type }) => this.wants(type));
    if (first === undefined) return null;
    const entry = this.#entries.get(session.id) ?? newEntry(session.id, first.ts, 0);
    this.#entries.set(session.id, entry);
    entry.open++;
    return {
      rows: this.#markOf(entry),
      settled: (ok) => {
        entry.open--;
        if (ok) entry.isKept = true;
        else if (!entry.isKept && entry.open === 0 && entry.head === 0) this.#entries.delete(session.id);
      },
    };
  }

  /** Told of every event that is committed. */
  published(session: SessionRef, { type, seq }: StoredEvent): void {
    const entry = this.#entries.get(session.id);
    if (entry === undefined || !this.wants(type)) return;
    entry.session = session;
    if (entry.head === 0) entry.from ??= seq - 1;
    entry.head = entry.head === Infinity ? entry.head : seq;
    this.onOwed(session.id);
  }

  /** What the last process left, or other nodes. */
  load(rows: readonly RecordRow[]): void {
    for (const { id, data } of rows) {
      const { since, cursors } = JSON.parse(data) as { since: number; cursors: Record<string, number> };
      const known = this.#entries.get(id);
      const entry = known ?? newEntry(id, since, Infinity);
      if (since < entry.since) {
        // Another node appended before this one did, which is heard of only now.
        entry.since = since;
        entry.from = null;
        entry.cursors.clear();
        entry.begun.clear();
      }
      for (const [webhook, seq] of Object.entries(cursors)) {
        entry.cursors.set(webhook, Math.max(seq, entry.cursors.get(webhook) ?? 0));
        entry.begun.add(webhook);
      }
      entry.from ??= this.#paid.get(id) ?? null;
      entry.isKept = true;
      this.#entries.set(id, entry);
      // What grew was perhaps heard of before this was read.
      if (known === undefined) this.onOwed(id);
      else this.grown(id);
    }
  }

  /** Another node may have appended to it. */
  grown(session_id: string): void {
    const entry = this.#entries.get(session_id);
    if (entry === undefined) return;
    entry.head = Infinity;
    entry.grown++;
    this.onOwed(session_id);
  }

  /** Nothing of it is in the store any more: another node delivered it. */
  gone(session_id: string): void {
    if (this.#entries.get(session_id)?.open === 0) this.#entries.delete(session_id);
  }

  /** The row that `row` answered is written, and everybody has everything up to `head`. */
  paid(session_id: string, head: number): void {
    this.#paid.delete(session_id);
    this.#paid.set(session_id, head);
    const [oldest] = this.#paid.keys();
    if (this.#paid.size > PAID_KEPT && oldest !== undefined) this.#paid.delete(oldest);
    const entry = this.#entries.get(session_id);
    // More of it is on its way, and makes the row anew.
    if (entry !== undefined && entry.open === 0 && entry.head === head) this.#entries.delete(session_id);
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Whether the log of a session has to stay as it is. */
  holds(session_id: string): boolean {
    return this.#entries.has(session_id);
  }

  get(session_id: string): Debt | undefined {
    return this.#entries.get(session_id);
  }

  all(): string[] {
    return [...this.#entries.keys()];
  }

  /** How far everybody is; gone where `everybody` has everything, and nothing more is on its way. */
  row(session_id: string, everybody: readonly string[]): RecordChange | null {
    const entry = this.#entries.get(session_id);
    if (entry === undefined) return null;
    const isPaid = entry.open === 0 && everybody.every((id) => (entry.cursors.get(id) ?? -1) >= entry.head);
    if (!isPaid) return rowOf(entry);
    // An event that another node appends meanwhile finds the row or makes it anew: it goes only while there is none.
    if (this.#isShared && everybody.length > 0)
      return { ...dropOf(session_id), at: { session: session_id, head: entry.head } };
    this.#entries.delete(session_id);
    return dropOf(session_id);
  }

  /** Who delivers may be about to drop the row: where nodes share the store each operation sees to it that it is there. */
  #markOf(entry: Entry): RecordChange[] {
    if (this.#isShared) return [{ kind: "record.keep", record: rowOf(entry).record }];
    return entry.isKept ? [] : [rowOf(entry)];
  }

  /** Its session is gone. */
  forget(session_id: string): RowChange {
    this.#entries.delete(session_id);
    return dropOf(session_id);
  }
}

/** Whether a type is one of those that are meant. */
export function isOf(type: string, wanted: string): boolean {
  return wanted.endsWith("*") ? type.startsWith(wanted.slice(0, -1)) : type === wanted;
}

function newEntry(session_id: string, since: number, head: number): Entry {
  const whose = { cursors: new Map<string, number>(), begun: new Set<string>(), late: new Set<string>() };
  return { session_id, session: null, since, ...whose, from: null, head, grown: 0, open: 0, isKept: false };
}

function rowOf({ session_id, since, cursors }: Debt): RecordChange & { readonly kind: "record.put" } {
  const data = JSON.stringify({ since, cursors: Object.fromEntries(cursors) });
  return {
    kind: "record.put",
    record: { collection: OWED, id: session_id, owner: session_id, data, expires_at: null },
  };
}

function dropOf(id: string): RecordChange & { readonly kind: "record.drop" } {
  return { kind: "record.drop", collection: OWED, id };
}
