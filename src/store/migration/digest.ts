import type { End } from "./end.ts";
import type { Key, Row, Table } from "./tables.ts";
import { placeOf } from "./tables.ts";

/** Rows of a table that belong together: those of a session, of a file, or all of them. */
export interface Group {
  /** `session_key` or `content_key`; 0: the whole table. */
  readonly group: number;
  readonly rows: number;
  /** SHA-256 of the rows, without the epoch of a session. */
  readonly digest: string;
  /** Of a session; null in every other table. */
  readonly epoch: string | null;
  /** SHA-256 of the pieces of a file, one after the other; null in every other table. */
  readonly content: string | null;
}

/** The groups of a table in the order of their numbers. A batch is held at a time. */
export async function* groupsOf(end: End, table: Table): AsyncGenerator<Group> {
  const place = ["session_key", "content_key"].includes(table.key[0] ?? "")
    ? placeOf(table, table.key[0] ?? "")
    : null;
  let open: Open | null = null;
  let after: Key | null = null;
  for (;;) {
    const { rows, next } = await end.read(table, after);
    if (next === null) break;
    for (const row of rows) {
      const group = place === null ? 0 : Number(row[place]);
      if (open !== null && open.group !== group) {
        yield open.end();
        open = null;
      }
      open ??= new Open(table, group);
      open.add(row);
    }
    after = next;
  }
  if (open !== null) yield open.end();
}

class Open {
  readonly group: number;
  readonly #digest = new Bun.CryptoHasher("sha256");
  readonly #content: Bun.CryptoHasher | null;
  readonly #epoch_place: number | null;
  #epoch: string | null = null;
  #rows = 0;

  constructor(table: Table, group: number) {
    this.group = group;
    this.#content = table.name === "pieces" ? new Bun.CryptoHasher("sha256") : null;
    this.#epoch_place = table.name === "sessions" ? placeOf(table, "epoch") : null;
  }

  add(row: Row): void {
    this.#rows++;
    let said = row;
    if (this.#epoch_place !== null) {
      this.#epoch = String(row[this.#epoch_place]);
      said = row.with(this.#epoch_place, null);
    }
    // Every value has an end of its own in it, so that no two rows make the same text.
    this.#digest.update(
      JSON.stringify(said.map((value) => (value instanceof Uint8Array ? value.length : value))),
    );
    for (const value of said) {
      if (!(value instanceof Uint8Array)) continue;
      this.#digest.update(value);
      this.#content?.update(value);
    }
  }

  end(): Group {
    return {
      group: this.group,
      rows: this.#rows,
      digest: this.#digest.digest("hex"),
      epoch: this.#epoch,
      content: this.#content?.digest("hex") ?? null,
    };
  }
}
