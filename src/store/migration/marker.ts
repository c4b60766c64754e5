import { GatewayError } from "../../protocol/errors.ts";
import type { End, Target } from "./end.ts";
import type { Key } from "./tables.ts";
import { TABLES } from "./tables.ts";
import { MARKER } from "./unfinished.ts";

/** What is being copied into a database, and how far it came: the value of `meta.migration`, as JSON. */
export interface Marker {
  /** `server_id` of the gateway. */
  readonly source: string;
  /** What the source was like at the beginning: a gateway that ran on it since left another. */
  readonly state: string;
  /** Of the source and of the target. */
  readonly schemas: readonly [number, number];
  readonly table: string;
  /** The last row of `table` that was copied; null: none was. */
  readonly after: Key | null;
  /** Copied so far: in all, and of `table`. */
  readonly rows: number;
  readonly table_rows: number;
  readonly bytes: number;
}

/** Numbers that a gateway changes where it does anything at all, and that are read at once. */
const STATE = [
  "SELECT CAST(COUNT(*) AS TEXT) FROM sessions",
  "SELECT CAST(COALESCE(SUM(head), 0) AS TEXT) FROM sessions",
  "SELECT CAST(COALESCE(SUM(floor), 0) AS TEXT) FROM sessions",
  "SELECT CAST(COALESCE(MAX(updated_at), 0) AS TEXT) FROM sessions",
  "SELECT CAST(COALESCE(MAX(id), 0) AS TEXT) FROM audit",
  "SELECT CAST(COUNT(*) AS TEXT) FROM records",
] as const;

/** The marker of a migration that begins. @throws GatewayError where nothing was ever kept in the source */
export async function firstMarker(source: End, target: End): Promise<Marker> {
  const server_id = await source.meta("server_id");
  if (server_id === null)
    throw refuse(`there is nothing to migrate: no gateway was started on ${source.place}`);
  const state: string[] = [];
  for (const sql of STATE) state.push(await source.ask(sql));
  return {
    source: server_id,
    state: state.join(" "),
    schemas: [source.schema, target.schema],
    table: TABLES[0]?.name ?? "",
    after: null,
    rows: 0,
    table_rows: 0,
    bytes: 0,
  };
}

/**
 * Where to go on: the marker of an interrupted run of the same migration, or null: nothing is in the target yet.
 * `isWhole`: all was verified, and only its last step was cut short. @throws GatewayError where the target is somebody's
 */
export async function findMarker(
  target: Target,
  first: Marker,
): Promise<{ readonly marker: Marker | null; readonly isWhole: boolean }> {
  const text = await target.meta(MARKER);
  if (text === null) {
    if (await target.isEmpty()) return { marker: null, isWhole: false };
    // A draft has no other name than this while it is nobody's.
    if (target.kind === "sqlite" && (await target.meta("server_id")) === first.source)
      return { marker: null, isWhole: true };
    throw new GatewayError(
      "CONFLICT",
      `${target.place} is not empty: a gateway keeps something in its schema agentbus; name an empty database`,
      { details: { kind: "exists" } },
    );
  }
  const marker = JSON.parse(text) as Marker;
  if (marker.source !== first.source)
    throw refuse(
      `${target.place} has a migration of another gateway in it that was not finished: name another, or throw that away with --restart`,
    );
  if (marker.schemas.join() !== first.schemas.join())
    throw refuse(
      "another version of agentbus began this migration: use that one, or begin anew with --restart",
    );
  if (marker.state !== first.state)
    throw refuse(
      "a gateway ran on the source since this migration began, so that what was copied is old: begin anew with --restart",
    );
  return { marker, isWhole: false };
}

function refuse(message: string): GatewayError {
  return new GatewayError("UNAVAILABLE", message, { details: { kind: "migration" } });
}
