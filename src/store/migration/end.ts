import type { Key, Row, Table } from "./tables.ts";

/** What a batch holds at the most, but for a row that is larger. */
export const BATCH = { rows: 2_000, bytes: 2 * 1024 * 1024 } as const;

/** Rows in the order of their keys; `next`: where to go on, null at the end of the table. */
export interface Batch {
  readonly rows: readonly Row[];
  readonly next: Key | null;
  readonly bytes: number;
}

/** One of the two databases of a migration. Methods reject with what the database said. */
export interface End {
  readonly kind: "sqlite" | "postgres";
  /** For people; without a password. */
  readonly place: string;
  /** The version of its schema. */
  readonly schema: number;
  meta(name: string): Promise<string | null>;
  /** The first rows after a key, as many as a batch holds. */
  read(table: Table, after: Key | null): Promise<Batch>;
  count(table: Table): Promise<number>;
  /** The answer of a statement that both know, as texts. */
  ask(sql: string): Promise<string>;
  /** Bytes on the disk, about. */
  size(): Promise<number>;
  /** No entry of the audit trail ever had a higher number. */
  highestAudit(): Promise<number>;
  close(): Promise<void>;
}

export interface Target extends End {
  /** Whether nothing a gateway keeps is in it. */
  isEmpty(): Promise<boolean>;
  /** Puts `meta` in, and `clear`s away what was copied before. */
  begin(meta: Readonly<Record<string, string>>, clear: boolean): Promise<void>;
  /** Rows and how far they bring the migration, in one transaction. */
  write(table: Table, rows: readonly Row[], marker: string): Promise<void>;
  /** All that is there was verified: a gateway may open it. */
  finish(audit: number): Promise<void>;
}

/** What makes the index of the search be made anew, the newest message last. */
export const SEARCHABLE = `INSERT INTO search_queue (session_key, message_id) SELECT session_key, message_id FROM messages
  WHERE status <> 'streaming' AND role IN ('user', 'assistant') ORDER BY message_id`;
