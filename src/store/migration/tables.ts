/**
 * How a column is kept. `boolean` is an integer in SQLite, `list` JSON there and an array in PostgreSQL; `folded` is PostgreSQL's
 * alone, and made of the column whose name it begins with.
 */
export type ColumnType = "text" | "integer" | "boolean" | "list" | "bytes" | "folded";

/** What a migration takes along of one table. */
export interface Table {
  readonly name: string;
  /** Columns by their names in PostgreSQL, in one order for both. */
  readonly columns: Readonly<Record<string, ColumnType>>;
  /** What rows are read in the order of, so that a row is named by it: an index begins with it in both. */
  readonly key: readonly string[];
}

/** The values of a row in the order of its columns: the same of the same row, whichever database it is read from. */
export type Row = readonly (string | number | null | Uint8Array)[];
/** The values of a row's key. */
export type Key = readonly (string | number)[];

const USED = {
  day: "text",
  model: "text",
  currency: "text",
  calls: "integer",
  unknown_calls: "integer",
  input_tokens: "integer",
  output_tokens: "integer",
  cached_tokens: "integer",
  reasoning_tokens: "integer",
  cost: "integer",
} as const;

const FILE = { name: "text", media_type: "text", width: "integer", height: "integer" } as const;

/** Everything a gateway keeps, in the order in which it is copied. */
export const TABLES: readonly Table[] = [
  {
    name: "sessions",
    key: ["session_key"],
    columns: {
      session_key: "integer",
      id: "text",
      owner: "text",
      name: "text",
      name_folded: "folded",
      state: "text",
      epoch: "text",
      floor: "integer",
      head: "integer",
      message_count: "integer",
      active_run_id: "text",
      archived: "boolean",
      created_at: "integer",
      updated_at: "integer",
      title: "text",
      title_folded: "text",
      model: "text",
      metadata: "text",
      system_prompt: "text",
    },
  },
  {
    name: "events",
    key: ["session_key", "seq"],
    columns: {
      session_key: "integer",
      seq: "integer",
      ts: "integer",
      type: "text",
      run_id: "text",
      payload: "text",
    },
  },
  {
    name: "messages",
    key: ["session_key", "message_id"],
    columns: {
      session_key: "integer",
      message_id: "text",
      seq: "integer",
      role: "text",
      status: "text",
      run_id: "text",
      covers: "text",
      data: "text",
    },
  },
  {
    name: "runs",
    key: ["session_key", "created_at", "run_id"],
    columns: {
      session_key: "integer",
      created_at: "integer",
      run_id: "text",
      owner: "text",
      status: "text",
      first_seq: "integer",
      data: "text",
    },
  },
  {
    name: "copies",
    key: ["session_key"],
    columns: {
      session_key: "integer",
      source: "text",
      copied_seq: "integer",
      last_seq: "integer",
      skip: "list",
    },
  },
  {
    name: "idempotency",
    key: ["username", "key"],
    columns: {
      username: "text",
      key: "text",
      fingerprint: "text",
      answer: "text",
      session: "text",
      epoch: "text",
      seq: "integer",
      created_at: "integer",
    },
  },
  {
    name: "quotas",
    key: ["username"],
    columns: {
      username: "text",
      session_count: "integer",
      key_count: "integer",
      attachment_count: "integer",
      attachment_bytes: "integer",
    },
  },
  {
    name: "tombstones",
    key: ["id"],
    columns: { id: "text", owner: "text", name: "text", epoch: "text", deleted_at: "integer" },
  },
  {
    name: "records",
    key: ["collection", "id"],
    columns: {
      collection: "text",
      id: "text",
      place: "integer",
      owner: "text",
      data: "text",
      expires_at: "integer",
    },
  },
  {
    name: "audit",
    key: ["id"],
    columns: {
      id: "integer",
      ts: "integer",
      action: "text",
      outcome: "text",
      username: "text",
      method: "text",
      credential: "text",
      transport: "text",
      remote: "text",
      client_id: "text",
      target: "text",
      details: "text",
      count: "integer",
    },
  },
  {
    name: "usage_days",
    key: ["username", "day", "model", "currency"],
    columns: { username: "text", ...USED },
  },
  {
    name: "usage_sessions",
    key: ["session_key", "day", "model", "currency"],
    columns: { session_key: "integer", ...USED },
  },
  {
    name: "contents",
    key: ["content_key"],
    columns: {
      content_key: "integer",
      sha256: "text",
      bytes: "integer",
      pieces: "integer",
      upload_id: "text",
      username: "text",
      expires_at: "integer",
    },
  },
  {
    name: "pieces",
    key: ["content_key", "n"],
    columns: { content_key: "integer", n: "integer", data: "bytes" },
  },
  {
    name: "holders",
    key: ["username", "content_key"],
    columns: { username: "text", content_key: "integer", uses: "integer" },
  },
  {
    name: "uploads",
    key: ["attachment_id"],
    columns: {
      attachment_id: "text",
      username: "text",
      content_key: "integer",
      ...FILE,
      expires_at: "integer",
    },
  },
  {
    name: "attachments",
    key: ["session_key", "attachment_id"],
    columns: { session_key: "integer", attachment_id: "text", content_key: "integer", ...FILE },
  },
];

/** Tables of the index of the search, which the gateway makes anew of the messages. */
export const INDEX_TABLES: readonly string[] = [
  "search_queue",
  "search_words",
  "search_rows",
  "search_moved",
];

/** Tables of PostgreSQL that are about nodes and who has what: nothing of them is anybody's. */
export const NODE_TABLES: readonly string[] = ["nodes", "node_groups", "calls", "parcels"];

/** Columns of PostgreSQL that are about nodes, with what a session has that no node ever had. */
export const NODE_COLUMNS: Readonly<Record<string, Readonly<Record<string, "NULL" | "0">>>> = {
  sessions: { owner_boot: "NULL", fence: "0" },
};

/** In SQLite, where it is no reserved word, a user's name is called otherwise. */
export function sqliteName(column: string): string {
  return column === "username" ? "user" : column;
}

/** Where a column's value stands in a row. */
export function placeOf({ name, columns }: Table, column: string): number {
  const place = Object.keys(columns).indexOf(column);
  if (place < 0) throw new Error(`${name} has no column ${column}`);
  return place;
}

export function keyOf(table: Table, row: Row): Key {
  return table.key.map((column) => row[placeOf(table, column)] as string | number);
}

export function tableNamed(name: string): Table {
  const found = TABLES.find((table) => table.name === name);
  if (found === undefined) throw new Error(`there is no table ${name}`);
  return found;
}
