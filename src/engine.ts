import { networkOf } from "./auth/address.ts";
import type { Caller } from "./core/call.ts";
import type { Published } from "./core/append.ts";
import { Approvals } from "./core/approvals.ts";
import { Audit } from "./core/audit.ts";
import { Changes } from "./core/changes.ts";
import type { Configuration } from "./core/configuration.ts";
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
import type { LedgerOptions } from "./core/ledger.ts";
import { Ledger } from "./core/ledger.ts";
import type { Limits } from "./core/limits.ts";
import type { LogComponent } from "./core/log-components.ts";
import { watchLoop } from "./core/loop-lag.ts";
import { Maintenance } from "./core/maintenance.ts";
import { Measures } from "./core/measures.ts";
import type { PluginView } from "./core/plugins.ts";
import type { Clock, Logger, ModelRouter, Toolbox } from "./core/ports.ts";
import type { Principal } from "./core/principal.ts";
import { Owed } from "./core/owed.ts";
import { Observers } from "./core/observers.ts";
import type { OpenedStore, Store } from "./core/store.ts";
import { Presence } from "./core/presence.ts";
import { Rates } from "./core/rates.ts";
import { RunTimes } from "./core/run-times.ts";
import type { RunsSettings } from "./core/runs.ts";
import { Runs } from "./core/runs.ts";
import type { SessionRef } from "./core/session.ts";
import { Directory } from "./core/session.ts";
import { SampledLog } from "./core/sampled-log.ts";
import { inTurns, Slots } from "./core/slots.ts";
import type { SpendingOptions } from "./core/spending.ts";
import { Spending } from "./core/spending.ts";
import { Stats } from "./core/stats.ts";
import { timeStore } from "./core/timed-store.ts";
import type { Tracing } from "./core/tracing.ts";
import { PassedTraces } from "./core/tracing.ts";
import { createImports } from "./method/import.ts";
import { createFiles } from "./method/attachment.ts";
import { auditMethods } from "./method/audit.ts";
import { chatMethods } from "./method/chat.ts";
import type { SendPolicy } from "./method/deps.ts";
import { eventMethods } from "./method/event.ts";
import { Registry } from "./method/registry.ts";
import type { MethodHandler } from "./method/registry.ts";
import { runMethods } from "./method/run.ts";
import { searchMethods } from "./method/search.ts";
import { sessionMethods } from "./method/session.ts";
import { sharingMethods } from "./method/sharing.ts";
import type { SystemDeps } from "./method/system.ts";
import { systemMethods } from "./method/system.ts";
import { toolMethods } from "./method/tool.ts";
import { usageMethods } from "./method/usage.ts";
import type { EventRun } from "./protocol/entities.ts";
import { GatewayError } from "./protocol/errors.ts";
import { publisher } from "./publisher.ts";

/** Reads for readers that begin in one turn of the event loop, where others wait for them. */
const READS_IN_TURN = 8;

/** What the configuration says of the domain. Read where it is used: it may be replaced. */
export interface EngineSettings extends RunsSettings {
  readonly on_busy: SendPolicy;
  /** What becomes of a call that asks while nobody is connected who could allow it. */
  readonly unattended: "wait" | "deny";
  readonly event_grace_ms: number;
}

export interface EngineOptions {
  readonly name: string;
  readonly version: string;
  readonly store: Store;
  /** That of an acknowledgement, as it is measured; default: full. */
  readonly durability?: "full" | "normal";
  readonly router: ModelRouter;
  readonly clock: Clock;
  readonly limits: Limits;
  readonly log: Logger;
  readonly settings: EngineSettings;
  readonly toolbox: Toolbox;
  readonly costs: Pick<LedgerOptions, "costOf" | "currency"> & Pick<SpendingOptions, "boundsOf">;
  readonly capabilities: readonly string[];
  readonly plugins: () => readonly PluginView[];
  readonly configuration: Configuration;
  /** Where spans are made; without it what came in is passed on. */
  readonly tracing?: Tracing | undefined;
  readonly backup: SystemDeps["backup"];
  /** Whether what somebody came in with still counts. */
  readonly isLive: (principal: Principal) => boolean;
  /** The outcome of a write is unknown: nothing may go on. */
  readonly fatal: (error: unknown) => void;
}

/** The domain, put together: everything but authentication and transports. */
export type Engine = ReturnType<typeof createEngine>;

/** Constructs the core around a store that is open, and every method that needs nothing else. */
export function createEngine(given: EngineOptions) {
  const measures = new Measures();
  const { clock, log, router, isLive, durability = "full" } = given;
  const store = timeStore(given.store, clock, measures, durability);
  const options = { ...given, store };
  const started = clock.monotonic();
  const state = { draining: false, server_id: "" };
  const core = createCore(options, measures);
  const unwatchLoop = watchLoop(clock, measures.loop_lag);
  const { journal, runs, maintenance, indexing, directory, stats, audit, tracing } = core;
  const uptime = (): number => (clock.monotonic() - started) / 1_000;
  const status = (): "healthy" | "degraded" | "draining" => {
    if (state.draining) return "draining";
    const provider = router.default_model.split("/", 1)[0];
    const ready = router.states().some((each) => each.name === provider && each.ready);
    return journal.refused === null && ready ? "healthy" : "degraded";
  };
  const count = (error: GatewayError | null, { principal, remote, transport }: Caller): void =>
    stats.request(error, { user: principal.user, remote }, transport);
  const rates = new Rates({ limits: options.limits, clock, networkOf });
  const draining = (): boolean => state.draining;
  const sessionOf = (user: string, id: string): string | null => directory.known(user, id)?.id ?? null;
  const deps = { store, clock, log, audit, isLive, count, rates, draining, sessionOf, tracing };
  const registry = new Registry(deps, []);
  for (const method of methodsOf(options, core, registry, { uptime, status })) registry.add(method);

  const imports = createImports({ ...core, clock, limits: options.limits, settings: options.settings });
  registry.add(imports.method);
  const files = createFiles({ ...core, clock, limits: options.limits, isLive, rates, draining });
  return {
    ...core,
    clock,
    limits: options.limits,
    registry,
    files,
    uptime,
    status,
    /** The identity this gateway's store was given when it was made; "" before `recover`. */
    server_id: (): string => state.server_id,
    /** After the store was opened: ends what the last process left. Nothing may be served before it resolves. */
    async recover(opened: OpenedStore): Promise<void> {
      state.server_id = opened.server_id;
      await directory.load();
      await runs.recover(opened.unended);
      void imports.recover();
      for (const session of opened.deleting) void maintenance.erase(session);
      indexing.touch();
    },
    /** What another node left that is gone: ends its runs and erases what it was to erase. */
    adopt({ unended, deleting }: Pick<OpenedStore, "unended" | "deleting">): void {
      runs.recover(unended).catch((error: unknown) => {
        // Storage refuses, or the gateway stops: whoever has the sessions next finds the runs again.
        log.error({ err: error }, "runs that another node left could not be ended");
      });
      for (const session of deleting) void maintenance.erase(session);
    },
    /** Others may take the sessions of this node (false), so that its runs have to stop, or not any more. */
    leased(lasts: boolean): void {
      if (lasts) return;
      log.error({}, "out of touch with the database for too long: the runs of this node are stopped");
      const error = new GatewayError("UNAVAILABLE", "the node that ran it lost touch with the database");
      void runs.stop([...runs.all()], { status: "failed", error: error.toBody() });
    },
    /** Refuses new work and ends the runs: those that run get `grace_ms`. */
    async drain(grace_ms: number): Promise<void> {
      state.draining = true;
      runs.drain();
      let cancel: () => void = () => undefined;
      const over = new Promise<void>((resolve) => (cancel = clock.after(grace_ms, resolve)));
      await Promise.race([runs.settled(), over]);
      cancel();
      imports.close();
      unwatchLoop();
      await closed(core);
    },
  };
}

/** The last of it is written. */
async function closed({
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

/** The log, who follows it, and what writes it. */
function createCore(options: EngineOptions, measures: Measures) {
  const { store, clock, limits, router, settings } = options;
  const log = options.log.child({ component: "store" satisfies LogComponent });
  const run_log = options.log.child({ component: "run" satisfies LogComponent });
  const sampled = new SampledLog(clock, options.log);
  const stats = new Stats(sampled);
  const hub = new Hub();
  const observers = new Observers(options.log);
  const owed = new Owed();
  const connections = new Connections({ limits, networkOf });
  const directory = new Directory(store, clock);
  const changes = new Changes(clock, connections, directory, hub);
  const presence = new Presence(clock, connections, hub);
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
  const journal = new Journal({ ...writing, owed });
  const audit = new Audit({ journal, clock, log });
  const base = { journal, store, clock, limits, log, audit, stats };
  // Begun at once, the next read would be answered in this turn, and so on: nobody else would be heard in between.
  const reads = new Slots(limits.store_reads, inTurns(clock, READS_IN_TURN));
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
  const tools = {
    toolbox,
    hooks,
    approvals,
    granted: (session: SessionRef) => grants.of(session),
    mayStart: () => store.cluster?.leased() ?? true,
    onRefused: () => void stats.tools.refused++,
    mayWait: (session: SessionRef) =>
      settings.unattended === "wait" || attended(connections, directory, session),
  };
  const { costs } = options;
  const ledger = new Ledger({ ...costs, clock, spending: new Spending({ ...costs, clock, store }) });
  const { first_token } = measures;
  const ended = (run: EventRun): void => countRun(run, stats, measures);
  const { tracing = new PassedTraces() } = options;
  const times = new RunTimes();
  const models = { router, ledger, first_token, times, tracing, log: run_log };
  const runs = new Runs({ ...base, ...models, sha256, settings, ...tools, limited, ended });
  const maintenance = new Maintenance({ ...base, owed, settings, erased: () => indexing.touch() });
  const readers = { followers, connections, changes, hub, presence, reads, toolbox, approvals, grants };
  const kept = { journal, audit, hooks, directory, maintenance, indexing, observers, owed };
  return { store, ...kept, runs, times, tracing, ledger, router, stats, measures, sampled, ...readers };
}

/** Whether somebody is connected who could allow a call of the session. */
function attended(connections: Connections, directory: Directory, session: SessionRef): boolean {
  for (const { principal } of connections.all()) {
    if (principal?.scopes.has("tools.approve") !== true) continue;
    const role = directory.roleOf(session, principal.user);
    if (role === "owner" || role === "editor") return true;
  }
  return false;
}

function methodsOf(
  options: EngineOptions,
  core: ReturnType<typeof createCore>,
  registry: Registry,
  state: Pick<SystemDeps, "uptime" | "status">,
): MethodHandler[] {
  const { clock, limits, settings, name, version, capabilities, plugins } = options;
  const { configuration, backup } = options;
  const told = { name, version, capabilities, plugins, configuration, backup };
  const deps = { ...core, clock, limits, settings };
  const definitions = (): ReturnType<Registry["definitions"]> => registry.definitions();
  return [
    ...systemMethods({ ...deps, ...told, definitions, ...state }),
    ...chatMethods(deps),
    ...sessionMethods(deps),
    ...searchMethods(deps),
    ...sharingMethods(deps),
    ...runMethods(deps),
    ...eventMethods(deps),
    ...toolMethods(deps),
    ...auditMethods(deps),
    ...usageMethods(deps),
  ];
}
