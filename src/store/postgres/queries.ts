import type { ReservedSQL, SQL } from "bun";

/** A list, as one parameter. */
export interface Column {
  readonly type: "TEXT" | "BIGINT";
  readonly values: readonly (string | number | null)[];
}
export type Value = string | number | boolean | null | Uint8Array | Column;

export function texts(values: readonly (string | null)[]): Column {
  return { type: "TEXT", values };
}
export function bigints(values: readonly (number | null)[]): Column {
  return { type: "BIGINT", values };
}

/**
 * Statements of one connection. They are carried out in the order in which they are given, and the next may be given before
 * the last one was answered: what needs no answer need not be waited for at once.
 */
export interface Queries {
  all<Row>(text: string, values?: readonly Value[]): Promise<Row[]>;
  one<Row>(text: string, values?: readonly Value[]): Promise<Row | null>;
  /** Rows that it changed. */
  run(text: string, values?: readonly Value[]): Promise<number>;
}

/** `pool` makes the lists. */
export function queriesOf(connection: SQL | ReservedSQL, pool: SQL): Queries {
  const ask = (text: string, values: readonly Value[]) =>
    connection.unsafe(
      text,
      values.map((value) =>
        isColumn(value) ? pool.array(value.values.map(clean), value.type) : clean(value),
      ),
    );
  return {
    async all<Row>(text: string, values: readonly Value[] = []): Promise<Row[]> {
      return [...((await ask(text, values)) as Row[])];
    },
    async one<Row>(text: string, values: readonly Value[] = []): Promise<Row | null> {
      return ((await ask(text, values)) as Row[])[0] ?? null;
    },
    async run(text, values = []): Promise<number> {
      const { count } = (await ask(text, values)) as { readonly count: number | null };
      return count ?? 0;
    },
  };
}

function isColumn(value: Value): value is Column {
  return typeof value === "object" && value !== null && "values" in value && "type" in value;
}

/** No text of PostgreSQL holds U+0000. */
function clean<T>(value: T): T | string {
  return typeof value === "string" && value.includes("\0") ? value.replaceAll("\0", "\uFFFD") : value;
}

/**
 * Statements that were given before those of a task and are answered with them. Whatever fails, the task has come to its
 * end when this rejects: nothing of it is carried out after what follows.
 */
export async function together<T>(before: readonly Promise<unknown>[], task: Promise<T>): Promise<T> {
  const [, ...settled] = await Promise.allSettled([task, ...before]);
  for (const each of settled) if (each.status === "rejected") throw each.reason;
  return task;
}
