import type { GroupResult, StoreItem } from "../../core/operation.ts";
import type { Cluster } from "../../core/cluster.ts";
import type { OpenedStore, Store } from "../../core/store.ts";
import { GatewayError } from "../../protocol/errors.ts";
import { assertGroup } from "../rules.ts";
import { adoptAll } from "./adoption.ts";
import { readAttachment, readPiece, readUploads } from "./attachments.ts";
import { readAudit } from "./audit.ts";
import { describeFailure, isLost } from "./failures.ts";
import { readArchived, readOwners, readRun, readRuns, readSessions } from "./list-reads.ts";
import { readContext, readHistory, readRunMessages, readSession, readSnapshot } from "./message-reads.ts";
import type { Opened, PostgresStoreOptions } from "./opening.ts";
import { openDatabase } from "./opening.ts";
import type { Queries } from "./queries.ts";
import * as reads from "./reads.ts";
import { sharedSecret } from "./shared-secret.ts";
import { index, search } from "./search.ts";
import { release } from "./start.ts";
import { readHeads, readRefs, readSummaries, readTail } from "./tail-reads.ts";
import { expire } from "./upkeep.ts";
import { readUsage } from "./usage.ts";
import { flush, newWork } from "./work.ts";

/** A database of a PostgreSQL server, which several nodes share. */
export function createPostgresStore(options: PostgresStoreOptions): Store {
  return new PostgresStore(options);
}

class PostgresStore implements Store {
  readonly kind = "postgres";
  readonly cluster: Cluster = {
    node: () => this.#live().node.key,
    key: (offered) => this.#live().upkeep.change((q) => sharedSecret(q, offered)),
    leads: () => this.#opened?.leadership.leads() ?? false,
    onLeads: (listener) => this.#live().leadership.onLeads(listener),
    leased: () => this.#opened?.lease.lasts() ?? false,
    onGrown: (listener) => this.#live().wake.onGrown(listener),
    onRecords: (listener) => this.#live().notices.onRecords(listener),
    heardAll: async () => (await this.#opened?.notices.heardAll()) ?? false,
    tell: (topic, text) => this.#opened?.notices.tell(topic, text),
    onTold: (topic, listener) => this.#live().notices.onTold(topic, listener),
    tail: (session) => this.#readWhole((q) => readTail(q, session)),
    page: (session, after) =>
      this.#read((q) =>
        reads.readPage(q, this.#options.limits, session, { after, upto: Number.MAX_SAFE_INTEGER }, [
          "live",
          "deleting",
        ]),
      ),
    release: (sessions, but = []) => {
      this.#leaves ||= sessions === null;
      return answered(this.#live().upkeep.change((q) => release(q, this.#boot, sessions, but)));
    },
    forget: (session) => this.#opened?.holdings.forget(session),
    name: () => this.#live().node.name,
    summaries: (query) => this.#read((q) => readSummaries(q, query)),
    peers: {
      tell: (body) => this.#opened?.peers.tell(body),
      ask: async (body, ms) => (await this.#opened?.peers.ask(body, ms)) ?? { answers: [], missing: [] },
      onTold: (listener) => this.#live().peers.onTold(listener),
      onAsked: (answer) => this.#live().peers.onAsked(answer),
    },
    refs: (sessions) => this.#read((q) => readRefs(q, sessions)),
    heads: (sessions) => this.#read((q) => readHeads(q, sessions)),
    calls: {
      put: (calls) => this.#live().calls.put(calls),
      waiting: (except, limit) => this.#live().calls.waiting(except, limit),
      answer: (answers) => this.#live().calls.answer(answers),
      amend: (call, body) => this.#live().calls.amend(call, body),
      states: (ids) => this.#live().calls.states(ids),
      onNews: (listener) => this.#live().calls.onNews(listener),
    },
  };
  readonly #options: PostgresStoreOptions;
  /** This incarnation of the node. */
  readonly #boot = crypto.randomUUID();
  #condition: "new" | "opening" | "open" | "closed" = "new";
  /** Settles with open(), and never rejects. */
  #opening: Promise<unknown> | null = null;
  #opened: Opened | null = null;
  #adopting: Promise<void> | null = null;
  /** It gave all its sessions back: what others leave is not for this node. */
  #leaves = false;
  #closing: Promise<void> | null = null;

  constructor(options: PostgresStoreOptions) {
    this.#options = options;
  }

  open(): Promise<OpenedStore> {
    if (this.#condition !== "new") return Promise.reject(new Error("a store is opened once"));
    this.#condition = "opening";
    const opening = this.#open();
    this.#opening = opening.catch(() => null);
    return opening;
  }

  async #open(): Promise<OpenedStore> {
    try {
      this.#opened = await openDatabase(this.#options, this.#boot, () => this.#adoptLeft());
      this.#condition = "open";
      return this.#opened.found;
    } catch (error) {
      this.#condition = "closed";
      throw error;
    }
  }

  async commit(group: readonly StoreItem[]): Promise<GroupResult> {
    const { writer } = this.#live();
    assertGroup(group);
    if (group.length === 0) return { ok: true, results: [] };
    return writer.apply(group);
  }

  page: Store["page"] = (session, after, upto) =>
    this.#read((q) => reads.readPage(q, this.#options.limits, session, { after, upto }));
  snapshot: Store["snapshot"] = (session, bytes, messages) =>
    this.#readWhole((q) => readSnapshot(q, session, bytes, messages));
  history: Store["history"] = (session, query) => this.#readWhole((q) => readHistory(q, session, query));
  context: Store["context"] = (session, limit, bytes) =>
    this.#readWhole((q) => readContext(q, session, limit, bytes));
  runMessages: Store["runMessages"] = (session, run_id) =>
    this.#read((q) => readRunMessages(q, session, run_id));
  session: Store["session"] = (id) => this.#read((q) => readSession(q, id));
  named: Store["named"] = (owner, name) =>
    this.#readWhole((q) => reads.readNamed(q, owner, name, this.#since("tombstone_ttl_secs")));
  deleted: Store["deleted"] = (id, owner) =>
    this.#read((q) => reads.readDeleted(q, id, owner, this.#since("tombstone_ttl_secs")));
  sessions: Store["sessions"] = (query) => this.#read((q) => readSessions(q, query));
  archived: Store["archived"] = (limit) => this.#read((q) => readArchived(q, limit));
  owners: Store["owners"] = () => this.#read(readOwners);
  run: Store["run"] = (run_id) => this.#read((q) => readRun(q, run_id));
  runs: Store["runs"] = (query) => this.#read((q) => readRuns(q, query));
  idempotency: Store["idempotency"] = (user, key) =>
    this.#read((q) => reads.readIdempotency(q, user, key, this.#since("key_ttl_secs")));
  records: Store["records"] = (collection, owner) =>
    this.#read((q) => reads.readRecords(q, collection, owner, this.#options.clock.now()));
  record: Store["record"] = (collection, id) =>
    this.#read((q) => reads.readRecord(q, collection, id, this.#options.clock.now()));
  uploads: Store["uploads"] = (user, ids) =>
    this.#read((q) => readUploads(q, user, ids, this.#options.clock.now()));
  attachment: Store["attachment"] = (session, id) => this.#read((q) => readAttachment(q, session, id));
  piece: Store["piece"] = (session, id, n) => this.#read((q) => readPiece(q, session, id, n));
  search: Store["search"] = (query) => this.#readWhole((q) => search(q, query));
  audit: Store["audit"] = (query) => this.#read((q) => readAudit(q, query));
  usage: Store["usage"] = (query) => this.#read((q) => readUsage(q, query));
  trimmable: Store["trimmable"] = (before, limit) =>
    this.#read((q) => reads.readTrimmable(q, this.#boot, before, limit));
  totals: Store["totals"] = () => this.#read(reads.readTotals);

  /** The bound is that of its server's disk, which it alone knows. */
  async room(): Promise<null> {
    this.#live();
    return null;
  }

  async expire(now: number, max_rows: number): Promise<number> {
    const { limits } = this.#options;
    return this.#live().upkeep.change(async (q) => {
      const work = newWork(q, limits, this.#boot);
      const erased = await expire(work, now, max_rows);
      await flush(work);
      return erased;
    });
  }

  async index(max_messages: number): Promise<number> {
    return this.#live().upkeep.change((q) => index(q, max_messages));
  }

  /** What becomes of rows that are gone is the database's own affair: it vacuums. */
  async scrub(): Promise<boolean> {
    return true;
  }

  async probe(): Promise<void> {
    const { lease, upkeep } = this.#live();
    if (!lease.lasts()) throw new Error("the lease of this node is over");
    await upkeep.change((q) =>
      q.run(
        `INSERT INTO meta (name, value) VALUES ('probe', '1')
         ON CONFLICT (name) DO UPDATE SET value = ((meta.value::bigint + 1) % 1000000)::text`,
      ),
    );
  }

  /** It writes from this thread; a server that is away is no failure of this process. */
  async answers(): Promise<void> {
    this.#live();
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await this.#opening;
    this.#condition = "closed";
    await this.#adopting;
    await this.#opened?.close();
  }

  /** One round at a time; what goes wrong is tried again after the next renewal. */
  #adoptLeft(): void {
    const opened = this.#opened;
    if (opened === null || this.#leaves || this.#condition !== "open" || this.#adopting !== null) return;
    const { onAdopted, log, limits } = this.#options;
    this.#adopting = adoptAll({ ...opened, boot: this.#boot, max_rows: limits.maintenance_rows })
      .then((undone) => {
        if (undone.unended.length + undone.deleting.length > 0) onAdopted?.(undone);
      })
      .catch((error: unknown) => {
        log.warn({ error: describeFailure(error) }, "what other nodes left could not be taken over");
      })
      .finally(() => (this.#adopting = null));
  }

  #live(): Opened {
    if (this.#opened === null || this.#condition !== "open")
      throw new GatewayError("UNAVAILABLE", "the store is not open");
    return this.#opened;
  }

  /** Times after this are within the ttl. */
  #since(ttl: "key_ttl_secs" | "tombstone_ttl_secs"): number {
    return this.#options.clock.now() - this.#options.limits[ttl] * 1000;
  }

  async #read<T>(read: (q: Queries) => Promise<T>): Promise<T> {
    const { reading } = this.#live();
    return answered(reading.read(read));
  }
  async #readWhole<T>(read: (q: Queries) => Promise<T>): Promise<T> {
    const { reading } = this.#live();
    return answered(reading.readWhole(read));
  }
}

/** @throws GatewayError UNAVAILABLE where there is no answer: that is no fault of whoever asks, who may ask again */
async function answered<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (!isLost(error)) throw error;
    throw new GatewayError("UNAVAILABLE", "the database is out of reach: try again", {
      details: { kind: "storage" },
      retry_after_ms: 2_000,
      cause: error,
    });
  }
}
