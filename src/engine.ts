import { networkOf } from "./auth/address.ts";
import type { Caller } from "./core/call.ts";
import type { Configuration } from "./core/configuration.ts";
import { GrownElsewhere } from "./core/grown-elsewhere.ts";
import type { LedgerOptions } from "./core/ledger.ts";
import type { Limits } from "./core/limits.ts";
import { watchLoop } from "./core/loop-lag.ts";
import { Measures } from "./core/measures.ts";
import type { PluginView } from "./core/plugins.ts";
import type { Clock, Logger, ModelRouter, Toolbox } from "./core/ports.ts";
import type { Credentials, Principal } from "./core/principal.ts";
import type { OpenedStore, Store } from "./core/store.ts";
import { Rates } from "./core/rates.ts";
import type { RunsSettings } from "./core/runs.ts";
import type { SpendingOptions } from "./core/spending.ts";
import { timeStore } from "./core/timed-store.ts";
import type { Tracing } from "./core/tracing.ts";
import { closed, createCore } from "./engine-core.ts";
import { createImports } from "./method/import.ts";
import { createFiles } from "./method/attachment.ts";
import { auditMethods } from "./method/audit.ts";
import { chatMethods } from "./method/chat.ts";
import type { SendPolicy } from "./method/deps.ts";
import { eventMethods } from "./method/event.ts";
import { Registry } from "./method/registry.ts";
import { Relay } from "./method/relay.ts";
import type { MethodHandler } from "./method/registry.ts";
import { runMethods } from "./method/run.ts";
import { searchMethods } from "./method/search.ts";
import { sessionMethods } from "./method/session.ts";
import { sharingMethods } from "./method/sharing.ts";
import type { SystemDeps } from "./method/system.ts";
import { systemMethods } from "./method/system.ts";
import { toolMethods } from "./method/tool.ts";
import { usageMethods } from "./method/usage.ts";
import { GatewayError } from "./protocol/errors.ts";

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
  /** Why there is too little room on the disk; null: there is enough. */
  readonly lowDisk: SystemDeps["lowDisk"];
  /** Who may come in. */
  readonly credentials: () => Pick<Credentials, "isLive" | "vouching">;
  /** The outcome of a write is unknown: nothing may go on. */
  readonly fatal: (error: unknown) => void;
}

/** The domain, put together: everything but authentication and transports. */
export type Engine = ReturnType<typeof createEngine>;

/** Constructs the core around a store that is open, and every method that needs nothing else. */
export function createEngine(given: EngineOptions) {
  const measures = new Measures();
  const { clock, log, router, credentials, durability = "full" } = given;
  const store = timeStore(given.store, clock, measures, durability);
  const options = { ...given, store };
  const started = clock.monotonic();
  const state = { draining: false, server_id: "" };
  const core = createCore(options, measures);
  const unwatchLoop = watchLoop(clock, measures.loop_lag);
  const { journal, directory, stats, audit, tracing } = core;
  const uptime = (): number => (clock.monotonic() - started) / 1_000;
  const status = (): "healthy" | "degraded" | "draining" => {
    if (state.draining) return "draining";
    const provider = router.default_model.split("/", 1)[0];
    const ready = router.states().some((each) => each.name === provider && each.ready);
    return journal.refused === null && ready && options.lowDisk() === null ? "healthy" : "degraded";
  };
  const count = (error: GatewayError | null, { principal, remote, transport }: Caller): void =>
    stats.request(error, { user: principal.user, remote }, transport);
  const rates = new Rates({ limits: options.limits, clock, networkOf });
  const draining = (): boolean => state.draining;
  const sessionOf = (user: string, id: string): string | null => directory.known(user, id)?.id ?? null;
  const { cluster } = store;
  const isLive = (principal: Principal): boolean => credentials().isLive(principal);
  const isKnown = (principal: Principal): boolean =>
    relay?.vouchesFor(principal) === true || isLive(principal);
  const deps = { store, clock, log, audit, isLive: isKnown, count, rates, draining, sessionOf, tracing };
  const registry: Registry = new Registry({ ...deps, relay: () => relay }, []);
  const relay =
    cluster === undefined
      ? null
      : new Relay(
          { ...core, cluster, clock, log, draining, vouching: () => credentials().vouching },
          registry.dispatch,
        );
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
    lowDisk: options.lowDisk,
    ...(relay !== null && { bring: relay.bring }),
    /** The identity this gateway's store was given when it was made; "" before `recover`. */
    server_id: (): string => state.server_id,
    ...lifeOf({ core, relay, imports, state, clock, log, unwatchLoop }),
  };
}

interface LifeParts {
  readonly core: ReturnType<typeof createCore>;
  readonly relay: Relay | null;
  readonly imports: ReturnType<typeof createImports>;
  readonly state: { draining: boolean; server_id: string };
  readonly clock: Clock;
  readonly log: Logger;
  readonly unwatchLoop: () => void;
}

/** How it begins and ends, and what becomes of it when nodes beside it do. */
function lifeOf({ core, relay, imports, state, clock, log, unwatchLoop }: LifeParts) {
  const { directory, runs, maintenance, indexing, journal, changes, store } = core;
  const { cluster } = store;
  const others = { changes, directory, journal, clock, log };
  const grown = cluster === undefined ? null : new GrownElsewhere({ cluster, ...others });
  return {
    /** After the store was opened: ends what the last process left. Nothing may be served before it resolves. */
    async recover(opened: OpenedStore): Promise<void> {
      state.server_id = opened.server_id;
      await directory.load();
      await runs.recover(opened.unended);
      relay?.start();
      core.nodes.start();
      grown?.start();
      void imports.recover();
      for (const session of opened.deleting) maintenance.erase(session);
      indexing.touch();
    },
    /** What is undone in sessions of this node: ends the runs that other nodes left in them, and erases what they were to erase. */
    adopt({ unended, deleting }: Pick<OpenedStore, "unended" | "deleting">): void {
      const { tails } = journal;
      for (const session of new Set(unended.map(({ run }) => run.session)))
        if (!tails.has(session) || tails.isElsewhere(session)) void relay?.adopt(session);
      for (const session of deleting) maintenance.erase(session);
    },
    /** Other nodes have these sessions now: nothing of them is written here any more. */
    lost(sessions: readonly string[]): void {
      journal.tails.lose(sessions);
      for (const session of sessions) {
        log.warn({ session }, "another node has taken a session that this one had");
        for (const run of runs.of(session)) run.stop({ status: "interrupted", reason: "restart" });
      }
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
      const settled = runs.settled();
      await Promise.race([Promise.all([settled, handOver(core, clock)]), over]);
      cancel();
      imports.close();
      unwatchLoop();
      await relay?.close();
      await closed(core);
      core.shared?.feeds.close();
      grown?.close();
      core.presence.close();
      core.nodes.close();
    },
  };
}

/** How often a node that stops looks for sessions in which nothing runs any more. */
const HAND_OVER_EVERY_MS = 200;

/** Other nodes may have what nothing runs in any more, while the rest comes to its end here. */
async function handOver(
  { store, runs, journal }: ReturnType<typeof createCore>,
  clock: Clock,
): Promise<void> {
  const { cluster } = store;
  if (cluster === undefined) return;
  let left = -1;
  for (;;) {
    const busy = new Set([...runs.all()].map(({ session }) => session.id));
    if (busy.size !== left) {
      left = busy.size;
      await journal.drained();
      journal.tails.loseAll(busy);
      await cluster.release(null, [...busy]).catch(() => undefined);
    }
    if (busy.size === 0) return;
    await new Promise<void>((resolve) => clock.after(HAND_OVER_EVERY_MS, resolve));
  }
}

function methodsOf(
  options: EngineOptions,
  core: ReturnType<typeof createCore>,
  registry: Registry,
  state: Pick<SystemDeps, "uptime" | "status">,
): MethodHandler[] {
  const { clock, limits, settings, name, version, capabilities, plugins } = options;
  const { configuration, backup, lowDisk } = options;
  const told = { name, version, capabilities, plugins, configuration, backup, lowDisk };
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
