import type { Queries, Value } from "../postgres/queries.ts";
import type { Batch } from "./end.ts";
import { BATCH } from "./end.ts";
import type { ColumnType, Key, Row, Table } from "./tables.ts";
import { NODE_COLUMNS } from "./tables.ts";

function selected(column: string, type: ColumnType): string {
  if (type === "integer") return `${column}::float8 AS ${column}`;
  if (type === "boolean") return `${column}::int::float8 AS ${column}`;
  if (type === "list") return `array_to_json(${column})::text AS ${column}`;
  return column;
}

/** A row is answered where those before it do not fill a batch: the server gathers no more than that. */
export async function readRows(q: Queries, table: Table, after: Key | null): Promise<Batch> {
  const columns = Object.entries(table.columns);
  const order = table.key.join(", ");
  const sizes = columns
    .filter(([, type]) => type === "text" || type === "bytes")
    .map(([column]) => `coalesce(octet_length(${column}), 0)`);
  const bytes = ["8", ...sizes].join(" + ");
  const marks = table.key.map((column, at) => `$${at + 1}::${typeOf(table.columns[column])}`).join(", ");
  const beyond = after === null ? "" : `WHERE (${order}) > (${marks})`;
  const names = columns.map(([column]) => column).join(", ");
  const rows = await q.all<Record<string, string | number | null | Uint8Array>>(
    `SELECT ${columns.map(([column, type]) => selected(column, type)).join(", ")}, before::float8 AS before_bytes,
       row_bytes::float8 AS row_bytes
     FROM (SELECT ${names}, ${bytes} AS row_bytes, coalesce(sum(${bytes}) OVER (ORDER BY ${order} ROWS BETWEEN UNBOUNDED PRECEDING
       AND 1 PRECEDING), 0) AS before FROM ${table.name} ${beyond} ORDER BY ${order} LIMIT ${BATCH.rows}) AS t
     WHERE before < ${BATCH.bytes} ORDER BY ${table.key.map((column) => `t.${column}`).join(", ")}`,
    after ?? [],
  );
  const last = rows.at(-1);
  return {
    rows: rows.map((row) => columns.map(([column]) => row[column] ?? null)),
    bytes: last === undefined ? 0 : Number(last["before_bytes"]) + Number(last["row_bytes"]),
    next: last === undefined ? null : table.key.map((column) => last[column] as string | number),
  };
}

function typeOf(type: ColumnType | undefined): "bigint" | "text" | "bytea" {
  if (type === "bytes") return "bytea";
  return type === "integer" || type === "boolean" ? "bigint" : "text";
}

function inserted(column: string, type: ColumnType): string {
  if (type === "boolean") return `u.${column} <> 0`;
  if (type === "list") return `ARRAY(SELECT json_array_elements_text(u.${column}::json))`;
  return `u.${column}`;
}

/** One statement for all rows; where there are bytes, one for each. */
export function insertRows(q: Queries, table: Table, rows: readonly Row[]): Promise<unknown>[] {
  const columns = Object.entries(table.columns);
  const fixed = Object.entries(NODE_COLUMNS[table.name] ?? {});
  const names = [...columns, ...fixed].map(([column]) => column).join(", ");
  const into = `INSERT INTO ${table.name} (${names}) OVERRIDING SYSTEM VALUE`;
  if (columns.some(([, type]) => type === "bytes")) {
    const marks = columns.map(([, type], at) => `$${at + 1}::${typeOf(type)}`).join(", ");
    return rows.map((row) => q.run(`${into} VALUES (${marks})`, row));
  }
  const values = columns.map(([, type], at): Value => {
    const isNumber = typeOf(type) === "bigint";
    const list = rows.map((row) => row[at] as string | number | null);
    return { type: isNumber ? "BIGINT" : "TEXT", values: list };
  });
  const lists = columns.map(([, type], at) => `$${at + 1}::${typeOf(type)}[]`).join(", ");
  const parts = [
    ...columns.map(([column, type]) => inserted(column, type)),
    ...fixed.map(([, value]) => value),
  ];
  return [
    q.run(
      `${into} SELECT ${parts.join(", ")} FROM unnest(${lists}) AS u (${columns.map(([column]) => column).join(", ")})`,
      values,
    ),
  ];
}
