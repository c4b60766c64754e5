import type { Limits } from "../../core/limits.ts";
import type { Clock, Logger } from "../../core/ports.ts";
import type { OpenedStore } from "../../core/store.ts";
import { GatewayError } from "../../protocol/errors.ts";
import { prepareDataDir } from "../sqlite/data-dir.ts";
import type { Lock } from "../sqlite/lock.ts";
import { releaseLock, takeLock } from "../sqlite/lock.ts";
import { takeLockOver } from "../sqlite/takeover.ts";
import type { AdoptionOptions } from "./adoption.ts";
import { adoptAll } from "./adoption.ts";
import { PostgresCalls } from "./calls.ts";
import type { Dial } from "./dial.ts";
import { adviceFor, describeFailure } from "./failures.ts";
import type { GroupWriter } from "./group-writer.ts";
import { createGroupWriter } from "./group-writer.ts";
import { Holdings } from "./holdings.ts";
import type { Identity } from "./identity.ts";
import { identify } from "./identity.ts";
import { Leadership } from "./leadership.ts";
import type { NodeName } from "./lease.ts";
import { Lease } from "./lease.ts";
import type { Queries } from "./queries.ts";
import { refuseMigration } from "./migrating.ts";
import type { NodeFacts } from "./node-facts.ts";
import { nodeName } from "./node-name.ts";
import { Notices } from "./notices.ts";
import { PostgresPeers } from "./peers.ts";
import { Pool } from "./pool.ts";
import { migrate } from "./schema.ts";
import { lastStop, settleIdentity } from "./start.ts";
import { Wake } from "./wake.ts";
import { Writing } from "./writing.ts";

export interface PostgresStoreOptions {
  /** postgres://… */
  readonly url: string;
  /** Where this node has its name; held by one process at a time. */
  readonly data_dir: string;
  /** Another process that holds the directory is asked to stop, and has so long for it. Default: it is refused. */
  readonly takeover_ms?: number;
  /** Told what is done before it is open, from when the directory is held: some of it may take long. */
  readonly onOpening?: (doing: string) => void;
  /** What the node says of itself. */
  readonly facts: () => NodeFacts;
  /** What people call the node; "": by its host. */
  readonly node_id: string;
  /** Connections in all. */
  readonly connections: number;
  /** How long a node that is not heard of counts as alive. */
  readonly lease_ms: number;
  readonly clock: Clock;
  /** What the lease goes by; default: `clock`. */
  readonly lease_clock?: Clock;
  readonly log: Logger;
  readonly limits: Limits;
  /** What it knows of sessions that it has; default: one of its own. */
  readonly holdings?: Holdings;
  /**
   * Now and then, what is undone in sessions of this node: the runs that it does not go on with itself are to be ended, the
   * sessions erased.
   */
  readonly onAdopted?: (left: Pick<OpenedStore, "unended" | "deleting">) => void;
  /** Sessions that this node had were taken by another: what is in memory of them is not to be shown any more. */
  readonly onFenced?: (sessions: readonly string[]) => void;
  /** The lease of this node is over (false), so that its runs have to stop, or lasts again. */
  readonly onLease?: (lasts: boolean) => void;
}

/** Those that are not for reads: one writes groups, one keeps the lease, one makes room, one listens. */
const OTHER_CONNECTIONS = 4;

const MIGRATION_MS = 3_600_000;
/** How long a node that stops tells others what it has to. */
const LAST_WORDS_MS = 1_000;

interface Pools {
  /** For reads. */
  readonly reading: Pool;
  /** For what makes room. */
  readonly upkeep: Pool;
  /** For the lease: it waits for nobody. */
  readonly keeper: Pool;
}

/** What an open store is made of. */
export interface Opened extends Pools {
  readonly writing: Writing;
  readonly writer: GroupWriter;
  readonly holdings: Holdings;
  readonly lease: Lease;
  readonly leadership: Leadership;
  readonly wake: Wake;
  readonly notices: Notices;
  readonly peers: PostgresPeers;
  readonly node: NodeName;
  readonly calls: PostgresCalls;
  readonly found: OpenedStore;
  /** Ends the lease, every connection and the hold of the data directory. */
  close(): Promise<void>;
}

/**
 * Connects, brings the schema up to date and begins the life of a node. `onRenewed` is called while it lives.
 * @throws GatewayError UNAVAILABLE whose message says what to do
 */
export async function openDatabase(
  options: PostgresStoreOptions,
  boot: string,
  onRenewed: () => void,
): Promise<Opened> {
  const { data_dir, connections } = options;
  prepareDataDir(data_dir);
  const { takeover_ms: ms, clock, log } = options;
  const lock =
    ms === undefined ? takeLock(data_dir, process.pid) : await takeLockOver({ data_dir, ms, clock, log });
  options.onOpening?.("opening the database");
  const to = dialOf(options, boot);
  const pool = (max: number, silence_ms: number): Pool => new Pool({ dial: to, max, clock, silence_ms });
  const { writer_silence_ms } = options.limits;
  const pools: Pools = {
    reading: pool(Math.max(1, connections - OTHER_CONNECTIONS), writer_silence_ms),
    upkeep: pool(1, writer_silence_ms),
    keeper: pool(1, Math.min(writer_silence_ms, options.lease_ms)),
  };
  try {
    return await begin(options, { boot, to, pools, lock, onRenewed });
  } catch (error) {
    await closeAll(pools);
    releaseLock(lock);
    if (error instanceof GatewayError) throw error;
    const reason = describeFailure(error);
    const message = `cannot use the database of storage.url: ${adviceFor(error)} (${reason})`;
    throw new GatewayError("UNAVAILABLE", message, { details: { kind: "database" }, cause: error });
  }
}

interface Beginning {
  readonly boot: string;
  readonly to: Dial;
  readonly pools: Pools;
  readonly lock: Lock;
  readonly onRenewed: () => void;
}

async function begin(
  options: PostgresStoreOptions,
  { boot, to, pools, lock, onRenewed }: Beginning,
): Promise<Opened> {
  const { keeper } = pools;
  const { clock, limits, log, lease_ms, lease_clock = clock } = options;
  const { onLease = () => undefined, onFenced = () => undefined } = options;
  const identity = await keeper.read(identifyUsable);
  await bringUpToDate(to, clock, (doing) => {
    log.info({}, doing);
    options.onOpening?.(doing);
  });
  const { isSame, server_id } = await keeper.change((q) => settleIdentity(q, identity));
  const node = nodeName(options.data_dir, options.node_id);
  const stop = await keeper.read((q) => lastStop(q, node.key));
  const names = { boot, node, lease_ms, facts: options.facts };
  const kept = { pool: keeper, boot, clock: lease_clock, log };
  const heard = hearing({ to, pools, boot, clock: lease_clock, log });
  const { wake, peers } = heard;
  const onAlive = (others: number): void => {
    peers.check(others);
    wake.check();
    void leadership.check();
    onRenewed();
  };
  const lease = new Lease({ ...kept, ...names, onChange: onLease, onRenewed: onAlive });
  const leadership = new Leadership({ ...kept, lease });
  await lease.begin();
  const writing = new Writing({ dial: to, clock, boot, silence_ms: limits.writer_silence_ms, identity });
  const mayWrite = (): boolean => lease.lasts();
  const onGrown = (sessions: Iterable<string>): void => wake.tell(sessions);
  const { holdings = new Holdings() } = options;
  const writer = createGroupWriter({ writing, limits, boot, holdings, mayWrite, onFenced, onGrown });
  try {
    const left = await takeOver({ keeper, writer, boot, max_rows: limits.maintenance_rows });
    const found: OpenedStore = { last_stop: isSame ? stop : "power", ...left, server_id };
    const calls = new PostgresCalls({ pool: pools.reading, wake, boot, limits });
    return { ...pools, writing, writer, holdings, lease, leadership, ...heard, node, calls, found, close };
  } catch (error) {
    leadership.abandon();
    lease.abandon();
    await Promise.all([writing.close(), heard.close()]);
    throw error;
  }

  async function close(): Promise<void> {
    try {
      await Promise.all([writing.close(), heard.close(), leadership.giveUp()]);
      await lease.end();
    } catch (error) {
      // What this node had is free when its lease is over.
      lease.abandon();
      log.error({ error: describeFailure(error) }, "the store did not close cleanly");
    }
    await closeAll(pools);
    releaseLock(lock);
  }
}

async function identifyUsable(q: Queries): Promise<Identity> {
  const identity = await identify(q);
  await refuseMigration(q);
  return identity;
}

/** A migration that began since we looked last sees this node by now, or we see it. */
async function takeOver(options: AdoptionOptions): ReturnType<typeof adoptAll> {
  await options.keeper.read(refuseMigration);
  return adoptAll(options);
}

interface Hearing extends Pick<Beginning, "boot" | "to" | "pools"> {
  readonly clock: Clock;
  readonly log: Logger;
}

/** What is said to other nodes and heard of them, on one connection that listens. */
function hearing({ to, pools, boot, clock, log }: Hearing) {
  const { reading, keeper } = pools;
  const peers = new PostgresPeers({ pool: reading, boot, clock, log });
  const wake = new Wake({
    dial: to,
    pool: reading,
    boot,
    log,
    isAlone: () => peers.isAlone,
    onLine(line) {
      notices.attach(line);
      peers.attach(line);
    },
  });
  const notices = new Notices({ pool: keeper, boot, clock, log, listenAnew: () => wake.listen() });
  const close = async (): Promise<void> => {
    notices.close();
    let cancel = (): void => undefined;
    const late = new Promise<void>((resolve) => (cancel = clock.after(LAST_WORDS_MS, resolve)));
    await Promise.race([peers.close(), late]);
    cancel();
    await wake.close();
  };
  return { wake, notices, peers, close };
}

/** However long that takes: it may wait for another node that does the same. */
async function bringUpToDate(to: Dial, clock: Clock, tell: (doing: string) => void): Promise<void> {
  const pool = new Pool({ dial: to, max: 1, clock, silence_ms: MIGRATION_MS });
  try {
    await pool.change((q) => migrate(q, tell));
  } finally {
    await pool.close();
  }
}

function dialOf({ url, limits, lease_ms }: PostgresStoreOptions, boot: string): Dial {
  const silence_ms = limits.writer_silence_ms;
  return { url, silence_ms, idle_ms: Math.min(silence_ms, lease_ms), application_name: `agentbus ${boot}` };
}

async function closeAll({ reading, upkeep, keeper }: Pools): Promise<void> {
  await Promise.all([reading, upkeep, keeper].map((pool) => pool.close()));
}
