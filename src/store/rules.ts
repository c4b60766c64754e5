import type { AppendItem, RowChange, StoreItem } from "../core/operation.ts";
import { dayOf } from "../core/day.ts";
import { SEARCHED_CHARS, snippetOf } from "../core/search.ts";
import type { RecordChange } from "../core/record.ts";
import type { FoundMessage, FoundMessages, SearchQuery } from "../core/store.ts";
import type { RunStatus } from "../protocol/entities.ts";
import type { StoredEvent } from "../protocol/frames.ts";

/** Bytes a message counts for besides its data, when a snapshot or a history is cut to size. */
const MESSAGE_OVERHEAD_BYTES = 100;

export function messageBytes(message: { readonly data: string }): number {
  return Buffer.byteLength(message.data) + MESSAGE_OVERHEAD_BYTES;
}

export function eventBytes(event: { readonly payload: string }): number {
  return Buffer.byteLength(event.payload);
}

/**
 * Takes rows from the front while they fit in both bounds, the first one whatever its size.
 * `more` says whether a row was left.
 */
export function takeWithin<T>(
  rows: Iterable<T>,
  bytesOf: (row: T) => number,
  bounds: { readonly count: number; readonly bytes: number },
): { taken: T[]; more: boolean } {
  const taken: T[] = [];
  let bytes = 0;
  for (const row of rows) {
    bytes += bytesOf(row);
    const full = taken.length >= bounds.count || bytes > bounds.bytes;
    if (full && taken.length > 0) return { taken, more: true };
    taken.push(row);
  }
  return { taken, more: false };
}

/** Whether what was made at `at` still counts at `now`. */
export function withinTtl(at: number, ttl_secs: number, now: number): boolean {
  return at + ttl_secs * 1000 > now;
}

export function hasEnded(status: RunStatus): boolean {
  return status !== "queued" && status !== "running";
}

/** Whether an operation writes the end of a run: the one thing a session being deleted still takes. */
export function endsRun(item: AppendItem): boolean {
  return item.rows.some((row) => row.kind === "run.put" && hasEnded(row.status));
}

const SESSIONLESS: ReadonlySet<RowChange["kind"]> = new Set([
  "idempotency",
  "record.put",
  "record.keep",
  "record.drop",
  "audit",
  "usage.add",
  "upload.piece",
  "upload.done",
  "upload.drop",
] as const);

/** Whether a record is not what a change of it takes it for. `there`: its data, `head`: of the session that the change names, or null. */
export function isChanged(row: RecordChange, there: string | null, head: number | null): boolean {
  if (row.kind === "record.keep") return false;
  if (row.over !== undefined && row.over !== there) return true;
  return row.kind === "record.drop" && row.at !== undefined && head !== null && head !== row.at.head;
}

/** Changes that need the session of their operation. */
export function needsSession(row: RowChange): boolean {
  return !SESSIONLESS.has(row.kind);
}

/** Whether an action is the one that is asked for, or begins with it and a dot. */
export function isAction(action: string, asked: string): boolean {
  return action === asked || action.startsWith(`${asked}.`);
}

/** A message's data as a copy of it has it: of no run. */
export function withoutRun(data: string): { readonly parts?: readonly unknown[] } {
  const { run_id: _, ...message } = JSON.parse(data) as { run_id?: string; parts?: readonly unknown[] };
  return message;
}

/** Whether an event carries text or a call of the message being written. */
export function writesMessage(event: StoredEvent, message_id: string): boolean {
  if (event.type !== "message.delta" && !event.type.startsWith("tool.")) return false;
  return (JSON.parse(event.payload) as { message_id?: string }).message_id === message_id;
}

/** Refuses groups that no caller may make, before anything is written. @throws Error */
export function assertGroup(group: readonly StoreItem[]): void {
  for (const item of group) {
    if (item.kind !== "append") continue;
    for (const row of item.rows) {
      const index = row.kind === "message.put" || row.kind === "run.put" ? row.event : undefined;
      if (index !== undefined && item.events[index] === undefined) {
        throw new Error(`store: ${row.kind} names event ${index} of an operation with ${item.events.length}`);
      }
    }
  }
}

/** Days before this one are too long ago. */
export function firstKeptDay(ttl_secs: number, now: number): string {
  return dayOf(Math.max(0, now - ttl_secs * 1000));
}

/** Messages that are looked at for one search. */
const LOOKED_AT = 2_000;
/** And how much of their text: whoever reads next waits until it was looked through. */
const LOOKED_AT_CHARS = 1024 * 1024;

/** Of the messages that may be meant, the newest first, those that are. */
export class FoundCollector {
  /** Messages before this place are looked at next. */
  before: number;
  readonly #query: Pick<SearchQuery, "terms" | "limit">;
  readonly #found: FoundMessage[] = [];
  #looked = 0;
  #chars = 0;

  constructor({ terms, limit, before }: Pick<SearchQuery, "terms" | "limit" | "before">) {
    this.#query = { terms, limit };
    this.before = before ?? Number.MAX_SAFE_INTEGER;
  }

  /** Looks at the next of them, some or none at all; null: there may be more before `before`. */
  take(some: Iterable<FoundMessage>): FoundMessages | null {
    const { terms, limit } = this.#query;
    const last = this.before;
    for (const each of some) {
      const isEnough =
        this.#found.length === limit || this.#looked === LOOKED_AT || this.#chars >= LOOKED_AT_CHARS;
      if (isEnough) return { found: this.#found, next: this.before };
      this.#looked++;
      this.#chars += each.message.data.length;
      this.before = each.place;
      const { content = "" } = JSON.parse(each.message.data) as { content?: string };
      if (snippetOf(content.slice(0, SEARCHED_CHARS), terms) !== null) this.#found.push(each);
    }
    return this.before === last ? { found: this.#found, next: null } : null;
  }
}

/** As FoundCollector, where `look` answers some before a place at once. */
export function takeFound(
  query: Pick<SearchQuery, "terms" | "limit" | "before">,
  look: (before: number) => Iterable<FoundMessage>,
): FoundMessages {
  const collector = new FoundCollector(query);
  for (;;) {
    const answer = collector.take(look(collector.before));
    if (answer !== null) return answer;
  }
}

/** More than this of an amount is no exact number for whoever reads it, and the sum of two of them fits an integer of any store. */
export const MOST_USED = Number.MAX_SAFE_INTEGER;
/** What an account adds up, besides what it cost. */
export const USAGE_AMOUNTS = [
  "calls",
  "unknown_calls",
  "input_tokens",
  "output_tokens",
  "cached_tokens",
  "reasoning_tokens",
] as const;
export const USAGE_COLUMNS = [...USAGE_AMOUNTS, "cost"] as const;
