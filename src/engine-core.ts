import { networkOf } from "./auth/address.ts";
import type { Published } from "./core/append.ts";
import { Approvals } from "./core/approvals.ts";
import { attendance } from "./core/attended.ts";
import { Audit } from "./core/audit.ts";
import { Changes } from "./core/changes.ts";
import { Connections } from "./core/connections.ts";
import { countRun } from "./core/counted-runs.ts";
import { countTools } from "./core/counted-tools.ts";
import { Followers } from "./core/follow.ts";
import { Grants } from "./core/grants.ts";
import { Hooks } from "./core/hooks.ts";
import { Hub } from "./core/hub.ts";
import { isImporter } from "./core/importing.ts";
import { Indexing } from "./core/indexing.ts";
import { Journal } from "./core/journal.ts";
import { Ledger } from "./core/ledger.ts";
import type { LogComponent } from "./core/log-components.ts";
import { Maintenance } from "./core/maintenance.ts";
import type { Measures } from "./core/measures.ts";
import { Mirrors } from "./core/mirrors.ts";
import { Owed } from "./core/owed.ts";
import { Observers } from "./core/observers.ts";
import { OtherNodes } from "./core/other-nodes.ts";
import type { Logger } from "./core/ports.ts";
import { Presence } from "./core/presence.ts";
import { RunTimes } from "./core/run-times.ts";
import { Runs } from "./core/runs.ts";
import type { SessionRef } from "./core/session.ts";
import { Directory } from "./core/session.ts";
import { sessionMirrors } from "./core/session-mirrors.ts";
import { SampledLog } from "./core/sampled-log.ts";
import { inTurns, Slots } from "./core/slots.ts";
import { Spending } from "./core/spending.ts";
import { Stats } from "./core/stats.ts";
import { PassedTraces } from "./core/tracing.ts";
import type { EngineOptions } from "./engine.ts";
import { sharedTails } from "./nodes.ts";
import type { EventRun } from "./protocol/entities.ts";
import { publisher } from "./publisher.ts";

/** Reads for readers that begin in one turn of the event loop, where others wait for them. */
const READS_IN_TURN = 8;

/** The last of it is written. */
export async function closed({
  runs,
  maintenance,
  indexing,
  audit,
  journal,
}: ReturnType<typeof createCore>): Promise<void> {
  await runs.close();
  await maintenance.close();
  await indexing.close();
  audit.close();
  await journal.drained();
}

/** Who is connected, at whichever node, and what they are told besides the logs that they follow. */
function createReach({ store, clock, limits }: EngineOptions, log: Logger) {
  const hub = new Hub();
  const connections = new Connections({ limits, networkOf });
  const directory = new Directory(store, clock);
  const nodes = new OtherNodes(store.cluster, log);
  const changes = new Changes({ clock, connections, directory, hub, nodes });
  const presence = new Presence({ clock, connections, hub, nodes });
  return { hub, connections, directory, nodes, changes, presence };
}

/** The log, who follows it, and what writes it. */
export function createCore(options: EngineOptions, measures: Measures) {
  const { store, clock, limits, router, settings } = options;
  const log = options.log.child({ component: "store" satisfies LogComponent });
  const run_log = options.log.child({ component: "run" satisfies LogComponent });
  const sampled = new SampledLog(clock, options.log);
  const stats = new Stats(sampled);
  const observers = new Observers(options.log);
  const owed = new Owed(store.cluster !== undefined);
  const reach = createReach(options, log);
  const { hub, connections, directory, nodes, changes, presence } = reach;
  const indexing = new Indexing({ store, clock, log });
  const publish = publisher({ stats, hub, changes, observers, indexing, owed });
  const onStorage = (reason: string | null): void => {
    if (reason === null) log.info({}, "storage takes writes again");
  };
  const hooks = new Hooks({ clock, limits });
  const committed: Published["committed"] = (session, rows) => {
    stats.rows(rows);
    if (!isImporter(session.owner)) hooks.committed(session, rows);
  };
  const { fatal } = options;
  const lag = measures.event_lag;
  const writing = { store, clock, limits, log, publish, committed, onStorage, lag, fatal };
  const shared = sharedTails(store, { clock, log, hub, changes, directory, connections }, () => ({
    runs,
    journal,
  }));
  const journal: Journal = new Journal({ ...writing, owed, shared });
  const audit = new Audit({ journal, clock, log });
  const base = { journal, store, clock, limits, log, audit, stats };
  // Begun at once, the next read would be answered in this turn, and so on: nobody else would be heard in between.
  const reads = new Slots(() => limits.store_reads, inTurns(clock, READS_IN_TURN));
  const followers = new Followers({
    ...base,
    reads,
    hub,
    directory,
    onChange: (connection, { session }, what) => presence.watcher(connection, session, what),
  });
  const sha256 = (text: string): string => new Bun.CryptoHasher("sha256").update(text).digest("hex");
  const limited = (option: string, user: string): void => stats.limit(option, { user });
  const toolbox = countTools(options.toolbox, clock, stats, measures);
  const approvals = new Approvals();
  const grants = new Grants(store);
  const mirrors = new Mirrors({ store, clock, log });
  directory.caughtUp = () => mirrors.caughtUp();
  mirrors.add(...sessionMirrors({ ...base, directory, grants, connections, changes }));
  const attended = attendance({ connections, directory, nodes });
  const tools = {
    toolbox,
    hooks,
    approvals,
    granted: (session: SessionRef) => grants.of(session),
    mayStart: () => store.cluster?.leased() ?? true,
    onRefused: () => void stats.tools.refused++,
    mayWait: async (session: SessionRef) => settings.unattended === "wait" || attended(session),
  };
  const { costs } = options;
  const ledger = new Ledger({ ...costs, clock, spending: new Spending({ ...costs, clock, store }) });
  const { first_token } = measures;
  const ended = (run: EventRun): void => countRun(run, stats, measures);
  const { tracing = new PassedTraces() } = options;
  const times = new RunTimes();
  const models = { router, ledger, first_token, times, tracing, log: run_log };
  const runs: Runs = new Runs({ ...base, ...models, sha256, settings, ...tools, limited, ended });
  const maintenance = new Maintenance({ ...base, owed, settings, erased: () => indexing.touch() });
  const readers = { ...reach, followers, reads, toolbox, approvals, grants };
  const kept = { journal, shared, mirrors, audit, hooks, maintenance, indexing, observers, owed };
  return { store, ...kept, runs, times, tracing, ledger, router, stats, measures, sampled, ...readers };
}
