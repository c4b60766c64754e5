import type { Database } from "bun:sqlite";
import { statSync } from "node:fs";
import { join } from "node:path";
import type { GroupResult, StoreItem } from "../../core/operation.ts";
import type { OpenedStore, Page, Store, StoreRoom } from "../../core/store.ts";
import { GatewayError } from "../../protocol/errors.ts";
import { assertGroup } from "../rules.ts";
import { Channel } from "./channel.ts";
import type { Suspicion } from "./data-dir.ts";
import { prepareDataDir, readBootId, suspicionIn } from "./data-dir.ts";
import { DATABASE_FILE, describeError, openReadonly } from "./database.ts";
import type { Lock } from "./lock.ts";
import { releaseLock, takeLock } from "./lock.ts";
import type { SqliteStoreOptions } from "./options.ts";
import type { PackedResult } from "./packing.ts";
import { packGroup, unpackResult } from "./packing.ts";
import type { ReadPage } from "./page.ts";
import { createPageReader } from "./page.ts";
import type { ScrubStep } from "./scrub.ts";
import type { Reads } from "./reads.ts";
import { takeLockOver } from "./takeover.ts";
import { checkVersion } from "./upgrade.ts";
import type { ReaderRequest, WriterRequest } from "./threads.ts";
import { workerUrl } from "./threads.ts";

/** One SQLite file in `data_dir`: a worker writes, a worker reads, and the main thread reads pages of logs. */
export function createSqliteStore(options: SqliteStoreOptions): Store {
  return new SqliteStore(options);
}

interface Opened {
  readonly lock: Lock;
  readonly writer: Channel<WriterRequest>;
  readonly pages: { readonly db: Database; readonly read: ReadPage };
}

class SqliteStore implements Store {
  readonly kind = "sqlite";
  readonly #options: SqliteStoreOptions;
  readonly #path: string;
  readonly #suspicion: Suspicion;
  /** Settles with open(), and never rejects. */
  #opening: Promise<unknown> | null = null;
  #condition: "new" | "opening" | "open" | "closed" = "new";
  #opened: Opened | null = null;
  #reader: Channel<ReaderRequest> | null = null;
  /** Why nothing may be written any more; null while it may. */
  #lost: string | null = null;
  #closing: Promise<void> | null = null;

  constructor(options: SqliteStoreOptions) {
    this.#options = options;
    this.#path = join(options.data_dir, DATABASE_FILE);
    this.#suspicion = suspicionIn(options.data_dir);
    options.onLimits?.(() => this.#tellLimits());
  }

  open(): Promise<OpenedStore> {
    if (this.#condition !== "new") return Promise.reject(new Error("a store is opened once"));
    this.#condition = "opening";
    const opening = this.#open();
    this.#opening = opening.catch(() => null);
    return opening;
  }

  async #open(): Promise<OpenedStore> {
    const { data_dir, clock, log, limits, durability, onOpening } = this.#options;
    const { max_bytes = 0, boot_id = readBootId } = this.#options;
    prepareDataDir(data_dir);
    const lock = await this.#takeLock();
    onOpening?.("opening the database");
    const writer = new Channel<WriterRequest>({
      url: workerUrl("writer"),
      clock,
      silence_ms: limits.writer_silence_ms,
      onLost: (reason) => this.#lose(reason),
      onDoing: (doing) => {
        log.info({ path: this.#path, bytes: statSync(this.#path).size }, doing);
        onOpening?.(doing);
      },
    });
    try {
      const facts = { boot_id: boot_id(), pid: process.pid, suspect: this.#suspicion.exists() };
      const settings = { path: this.#path, limits: { ...limits }, durability, max_bytes };
      const opened = await writer.ask<OpenedStore>({ op: "open", ...settings, ...facts }, true);
      this.#suspicion.take();
      const db = openReadonly(this.#path);
      this.#opened = { lock, writer, pages: { db, read: createPageReader(db, limits) } };
      this.#condition = "open";
      return opened;
    } catch (error) {
      this.#condition = "closed";
      writer.close();
      releaseLock(lock);
      if (error instanceof GatewayError) throw error;
      throw new GatewayError("UNAVAILABLE", `cannot open ${this.#path}: ${describeError(error)}`, {
        cause: error,
      });
    }
  }

  async #takeLock(): Promise<Lock> {
    const { data_dir, takeover_ms: ms, clock, log } = this.#options;
    if (ms === undefined) return takeLock(data_dir, process.pid);
    return takeLockOver({ data_dir, ms, clock, log, check: () => checkVersion(this.#path) });
  }

  async commit(group: readonly StoreItem[]): Promise<GroupResult> {
    const { writer } = this.#live();
    assertGroup(group);
    if (group.length === 0) return { ok: true, results: [] };
    return unpackResult(await writer.ask<PackedResult>({ op: "commit", group: packGroup(group) }));
  }

  async page(session: string, after: number, upto: number): Promise<Page | null> {
    return this.#live().pages.read(session, after, upto);
  }
  snapshot: Store["snapshot"] = (session, bytes, messages) =>
    this.#read("snapshot", session, bytes, messages);
  history: Store["history"] = (session, query) => this.#read("history", session, query);
  context: Store["context"] = (session, limit, bytes) => this.#read("context", session, limit, bytes);
  runMessages: Store["runMessages"] = (session, run_id) => this.#read("runMessages", session, run_id);
  session: Store["session"] = (id) => this.#read("session", id);
  named: Store["named"] = (owner, name) =>
    this.#read("named", owner, name, this.#since("tombstone_ttl_secs"));
  deleted: Store["deleted"] = (id, owner) =>
    this.#read("deleted", id, owner, this.#since("tombstone_ttl_secs"));
  sessions: Store["sessions"] = (query) => this.#read("sessions", query);
  archived: Store["archived"] = (limit) => this.#read("archived", limit);
  owners: Store["owners"] = () => this.#read("owners");
  run: Store["run"] = (run_id) => this.#read("run", run_id);
  runs: Store["runs"] = (query) => this.#read("runs", query);
  idempotency: Store["idempotency"] = (user, key) =>
    this.#read("idempotency", user, key, this.#since("key_ttl_secs"));
  records: Store["records"] = (collection, owner) =>
    this.#read("records", collection, owner ?? null, this.#options.clock.now());
  record: Store["record"] = (collection, id) =>
    this.#read("record", collection, id, this.#options.clock.now());
  uploads: Store["uploads"] = (user, ids) => this.#read("uploads", user, ids, this.#options.clock.now());
  attachment: Store["attachment"] = (session, id) => this.#read("attachment", session, id);
  piece: Store["piece"] = (session, id, n) => this.#read("piece", session, id, n);
  search: Store["search"] = (query) => this.#read("search", query);
  audit: Store["audit"] = (query) => this.#read("audit", query);
  usage: Store["usage"] = (query) => this.#read("usage", query);
  trimmable: Store["trimmable"] = (before, limit) => this.#read("trimmable", before, limit);
  totals: Store["totals"] = () => this.#read("totals");

  async room(): Promise<StoreRoom | null> {
    const { max_bytes = 0 } = this.#options;
    if (max_bytes === 0) {
      this.#live();
      return null;
    }
    return { used_bytes: await this.#read("usedBytes"), max_bytes };
  }

  async expire(now: number, max_rows: number): Promise<number> {
    return this.#live().writer.ask<number>({ op: "expire", now, max_rows });
  }

  async index(max_messages: number): Promise<number> {
    return this.#live().writer.ask<number>({ op: "index", max_messages });
  }

  async scrub(): Promise<boolean> {
    for (;;) {
      const step = await this.#live().writer.ask<ScrubStep>({ op: "scrub" });
      if (step !== "more") return step === "done";
    }
  }

  async probe(): Promise<void> {
    await this.#live().writer.ask({ op: "probe" });
  }

  async answers(): Promise<void> {
    await this.#live().writer.ask({ op: "answer" });
  }

  /** The writer has limits of its own. One that is lost or closed needs none. */
  #tellLimits(): void {
    if (this.#condition !== "open" || this.#lost !== null) return;
    const limits = { ...this.#options.limits };
    this.#opened?.writer.ask({ op: "limits", limits }).catch((error: unknown) => {
      this.#options.log.warn(
        { error: describeError(error) },
        "the store's writer did not take the new limits",
      );
    });
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await this.#opening;
    const opened = this.#opened;
    this.#condition = "closed";
    if (opened === null) return;
    const { lock, writer, pages } = opened;
    // The readers first: the last connection to close moves the log into the database file.
    if (this.#reader !== null) await this.#settle(this.#reader.ask({ op: "close" }));
    this.#reader?.close();
    pages.db.close(true);
    if (this.#lost === null) await this.#settle(writer.ask({ op: "close" }));
    writer.close();
    releaseLock(lock);
  }

  /** Whatever goes wrong while closing, the next start treats it as a crash, which loses nothing. */
  async #settle(step: Promise<unknown>): Promise<void> {
    try {
      await step;
    } catch (error) {
      this.#options.log.error({ error: describeError(error) }, "the store did not close cleanly");
    }
  }

  #live(): Opened {
    if (this.#opened === null || this.#condition !== "open")
      throw new GatewayError("UNAVAILABLE", "the store is not open");
    if (this.#lost !== null) throw new Error(`the store is lost: ${this.#lost}`);
    return this.#opened;
  }

  /** Times after this are within the ttl. */
  #since(ttl: "key_ttl_secs" | "tombstone_ttl_secs"): number {
    return this.#options.clock.now() - this.#options.limits[ttl] * 1000;
  }

  async #read<M extends keyof Reads>(
    method: M,
    ...args: Parameters<Reads[M]>
  ): Promise<ReturnType<Reads[M]>> {
    this.#live();
    this.#reader ??= this.#startReader();
    return this.#reader.ask<ReturnType<Reads[M]>>({ op: "read", method, args });
  }

  /** A reader that is lost loses its reads only: the next read starts another. */
  #startReader(): Channel<ReaderRequest> {
    const { clock, limits, log } = this.#options;
    const reader = new Channel<ReaderRequest>({
      url: workerUrl("reader"),
      clock,
      silence_ms: limits.writer_silence_ms,
      onLost: (reason) => {
        log.error({ reason }, "the store's reader is lost");
        this.#reader = null;
      },
    });
    reader.ask({ op: "open", path: this.#path }, true).catch((error: unknown) => {
      if (this.#reader !== reader) return;
      log.error({ error: describeError(error) }, "the store's reader cannot open the database");
      this.#reader = null;
      reader.close();
    });
    return reader;
  }

  /** The outcome of what was in flight is unknown, so what the file holds cannot be trusted to match what was seen. */
  #lose(reason: string): void {
    this.#lost = reason;
    // A start that fails has shown nothing to anybody.
    if (this.#condition === "opening") return;
    this.#options.log.error(
      { reason },
      "the store's writer is lost: the outcome of the last write is unknown",
    );
    try {
      this.#suspicion.leave(reason);
    } catch (error) {
      this.#options.log.error(
        { error: describeError(error) },
        "cannot leave word of it in the data directory",
      );
    }
  }
}
