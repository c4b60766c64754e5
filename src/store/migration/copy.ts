import { newEpoch } from "../../core/id.ts";
import type { End, Target } from "./end.ts";
import type { Marker } from "./marker.ts";
import type { Row, Table } from "./tables.ts";
import { placeOf, TABLES } from "./tables.ts";

/** How far one step of a migration came. */
export interface Progress {
  readonly step: "copy" | "verify";
  readonly table: string;
  readonly rows: number;
  /** All of the table are. */
  readonly done: boolean;
}

/** Copies what comes after a marker, a batch in a transaction; the marker of the end. */
export async function copy(
  source: End,
  target: Target,
  from: Marker,
  onProgress: (progress: Progress) => void,
): Promise<Marker> {
  let marker = from;
  const begun = TABLES.findIndex(({ name }) => name === from.table);
  for (const table of TABLES.slice(begun)) {
    const { name } = table;
    if (name !== marker.table) marker = { ...marker, table: name, after: null, table_rows: 0 };
    let batch = await source.read(table, marker.after);
    while (batch.next !== null) {
      const { rows, next, bytes } = batch;
      marker = {
        ...marker,
        after: next,
        rows: marker.rows + rows.length,
        table_rows: marker.table_rows + rows.length,
        bytes: marker.bytes + bytes,
      };
      // The next are read while these are written.
      [batch] = await Promise.all([
        source.read(table, next),
        target.write(table, withNewEpochs(table, rows), JSON.stringify(marker)),
      ]);
      onProgress({ step: "copy", table: name, rows: marker.table_rows, done: false });
    }
    onProgress({ step: "copy", table: name, rows: marker.table_rows, done: true });
  }
  return marker;
}

/** Clients that come back are told that their cursors are worth nothing: what they may see is another database. */
function withNewEpochs(table: Table, rows: readonly Row[]): readonly Row[] {
  if (table.name !== "sessions") return rows;
  const place = placeOf(table, "epoch");
  return rows.map((row) => row.with(place, newEpoch()));
}
