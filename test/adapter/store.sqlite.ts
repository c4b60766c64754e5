import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Limits } from "../../src/core/limits.ts";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import type { Logger } from "../../src/core/ports.ts";
import type { OpenedStore, Store } from "../../src/core/store.ts";
import type { SqliteStoreOptions } from "../../src/store/sqlite/options.ts";
import { createSqliteStore } from "../../src/store/sqlite/store.ts";
import { GatewayError } from "../../src/protocol/errors.ts";
import type { StoreFixture } from "./store.builders.ts";
import { failure, storeClock } from "./store.builders.ts";

/** A directory that is removed with everything in it. */
export async function temporaryDirectory(): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await mkdtemp(join(tmpdir(), "agentbus-store-"));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

export interface LogLine extends Record<string, unknown> {
  readonly level: string;
  readonly message: string;
}

export function memoryLog(lines: LogLine[]): Logger {
  const at = (level: string) => (fields: Record<string, unknown>, message: string) => {
    lines.push({ ...fields, level, message });
  };
  const log: Logger = {
    debug: at("debug"),
    info: at("info"),
    warn: at("warn"),
    error: at("error"),
    child: () => log,
  };
  return log;
}

export interface SqliteChanges extends Partial<Omit<SqliteStoreOptions, "limits">> {
  readonly limits?: Partial<Limits> | undefined;
}

/** A store that is not open yet, in `data_dir`; `lines` is what it logs. */
export function sqliteStore(data_dir: string, changes: SqliteChanges = {}) {
  const clock = storeClock();
  const lines: LogLine[] = [];
  const limits = { ...DEFAULT_LIMITS, ...changes.limits };
  const store = createSqliteStore({
    data_dir,
    durability: "full",
    clock,
    log: memoryLog(lines),
    ...changes,
    limits,
  });
  return { store, clock, limits, lines };
}

/** Opens a store in `data_dir`, looks at it, and closes it. */
export async function withStore<T>(
  data_dir: string,
  use: (store: Store, opened: OpenedStore) => Promise<T>,
  changes: SqliteChanges = {},
): Promise<T> {
  const { store } = sqliteStore(data_dir, changes);
  const opened = await store.open();
  try {
    return await use(store, opened);
  } finally {
    await store.close();
  }
}

export interface SqliteFixture extends StoreFixture {
  readonly data_dir: string;
  readonly lines: LogLine[];
}

/** An open store in a directory of its own; closed and removed with it. */
export async function openSqlite(changes: SqliteChanges = {}): Promise<SqliteFixture> {
  const directory = await temporaryDirectory();
  const made = sqliteStore(directory.path, changes);
  await made.store.open();
  return {
    ...made,
    data_dir: directory.path,
    async [Symbol.asyncDispose]() {
      await made.store.close();
      await directory[Symbol.asyncDispose]();
    },
  };
}

/** The error that a promise is refused with. */
export async function refusal(refused: Promise<unknown>): Promise<GatewayError> {
  const error = await failure(refused);
  if (!(error instanceof GatewayError)) throw new Error(`not refused with a GatewayError: ${String(error)}`);
  return error;
}
