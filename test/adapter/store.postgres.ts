import { SQL } from "bun";
import { systemClock } from "../../src/clock.ts";
import type { Limits } from "../../src/core/limits.ts";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import type { PostgresStoreOptions } from "../../src/store/postgres/opening.ts";
import { createPostgresStore } from "../../src/store/postgres/store.ts";
import { emptyDatabase, testDatabase } from "../support/postgres.ts";
import type { StoreFixture } from "./store.builders.ts";
import { storeClock } from "./store.builders.ts";
import type { LogLine } from "./store.sqlite.ts";
import { memoryLog, temporaryDirectory } from "./store.sqlite.ts";

export interface PostgresChanges extends Partial<Omit<PostgresStoreOptions, "limits" | "url" | "data_dir">> {
  readonly limits?: Partial<Limits> | undefined;
}

/** A store that is not open yet; `lines` is what it logs. */
export function postgresStore(url: string, data_dir: string, changes: PostgresChanges = {}) {
  const clock = storeClock();
  const lines: LogLine[] = [];
  const limits = { ...DEFAULT_LIMITS, ...changes.limits };
  const store = createPostgresStore({
    url,
    data_dir,
    node_id: "",
    facts: () => ({ version: "1.0.0", sections: {} }),
    connections: 6,
    lease_ms: 15_000,
    clock,
    lease_clock: systemClock,
    log: memoryLog(lines),
    ...changes,
    limits,
  });
  return { store, clock, limits, lines };
}

/** An open store in a database and a directory of its own; closed and removed with it. */
export async function openPostgres(changes: PostgresChanges = {}): Promise<StoreFixture & { url: string }> {
  const database = await emptyDatabase();
  const directory = await temporaryDirectory();
  const made = postgresStore(database.url, directory.path, changes);
  await made.store.open();
  return {
    ...made,
    url: database.url,
    async [Symbol.asyncDispose]() {
      await made.store.close();
      await database[Symbol.asyncDispose]();
      await directory[Symbol.asyncDispose]();
    },
  };
}

/** A database, and the nodes that share it. */
export async function sharedDatabase() {
  const database = await testDatabase();
  const sql = new SQL(database.url, { max: 1 });
  const stack = new AsyncDisposableStack();
  stack.use(database);
  stack.defer(() => sql.close({ timeout: 1 }));
  return {
    sql,
    url: database.url,
    async node(changes: PostgresChanges = {}, data_dir?: string, url = database.url) {
      const directory = stack.use(await temporaryDirectory());
      const place = data_dir ?? directory.path;
      const made = postgresStore(url, place, changes);
      stack.defer(() => made.store.close());
      return { ...made, place, directory: directory.path };
    },
    /** As if they had not been heard of for longer than their lease. */
    expire: () => sql.unsafe("UPDATE agentbus.nodes SET lease_until = '-infinity'"),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}
