import { rmSync } from "node:fs";
import type { Access } from "./access.ts";
import { createAccess } from "./access.ts";
import type { Automations } from "./automations.ts";
import { createAutomations } from "./automations.ts";
import { systemClock } from "./clock.ts";
import type { Config } from "./config.ts";
import { noteConfiguration, noteReload } from "./config-change.ts";
import { costsOf } from "./costs.ts";
import type { Configuration } from "./core/configuration.ts";
import { viewOf } from "./core/live.ts";
import type { LogComponent } from "./core/log-components.ts";
import type { Logger } from "./core/ports.ts";
import type { Engine } from "./engine.ts";
import { createEngine } from "./engine.ts";
import { extensionsOf } from "./extensions.ts";
import type { GatewayOptions } from "./gateway-options.ts";
import { keepLog } from "./kept-log.ts";
import { Leaving, timesOf } from "./leaving.ts";
import type { Listening } from "./listening.ts";
import { listen } from "./listening.ts";
import { lowDisk } from "./low-disk.ts";
import { encodeSignal } from "./protocol/frames.ts";
import { Retention } from "./method/retention.ts";
import { metricsOf } from "./metrics.ts";
import { modelsOf } from "./models.ts";
import { createOpening } from "./opening.ts";
import { createOtlp } from "./otlp.ts";
import type { Plugins } from "./plugin/plugins.ts";
import { createPlugins, showPlugins } from "./plugins.ts";
import { createScheduledBackups } from "./scheduled-backups.ts";
import { reconfigure } from "./log.ts";
import { Reloading } from "./reload.ts";
import { liveConfig, settingsOf } from "./settings.ts";
import { inTime } from "./in-time.ts";
import { createSkills, showSkills, skillTools } from "./skills.ts";
import { stateFile } from "./state-file.ts";
import { createStore } from "./storage.ts";
import type { SurfaceParts } from "./surface.ts";
import { CAPABILITIES, NAME, surfaceOf } from "./surface.ts";
import { createTls } from "./tls.ts";
import { createHttp } from "./transport/http.ts";
import { createToolServers } from "./tool-servers.ts";
import { createTools } from "./tools.ts";
import { createSockets } from "./transport/ws.ts";
import { createRemovals } from "./users.ts";

/** How long the last writes may take at a stop; the ends they lack are written at the next start. */
const DRAIN_MS = 5_000;
/** How long the last bytes may take to leave at a stop. */
const FLUSH_MS = 2_000;
const RETRY_AFTER_MS = 500;
/** How long the last of telemetry may take to be sent: what nobody takes is lost. */
const TELEMETRY_MS = 2_000;

export interface Started extends Listening {
  /** The administrator's local token; `created`: it was just made. Null in mode none. */
  readonly token: { readonly value: string; readonly created: boolean } | null;
}

export interface Composed {
  readonly engine: Engine;
  readonly access: Access;
  readonly plugins: Plugins;
  readonly reloading: Configuration;
  /** That counts now; its sections are read where they are used. */
  readonly config: Config;
  /** Once. @throws GatewayError UNAVAILABLE with the one line to show */
  start(): Promise<Started>;
  /**
   * Running answers get `grace_ms`; without it, server.shutdown_grace_secs once server.shutdown_delay_secs are over.
   * Called again it takes both back: what still runs is ended when the new grace is over.
   */
  stop(options?: { readonly grace_ms?: number }): Promise<void>;
}

/** The composition root: constructs everything and hands it in. Nothing listens before start(). */
export function composeGateway(options: GatewayOptions): Composed {
  const parts = construct(options);
  const { engine, access, plugins, reloading, store, credentials, context, clock, settings } = parts;
  const { config } = settings;
  const tls = createTls(settings, clock, context.log);
  engine.stats.certificate_expires_at = () => tls?.expires_at ?? null;
  const sockets = createSockets(context);
  const http = createHttp(context, sockets);
  let stopping: Promise<void> | null = null;
  let listening = false;

  async function start(): Promise<Started> {
    const opened = await parts.opening.open(store);
    try {
      engine.mirrors.listen();
      // Before the ends of what the last process left are written: webhooks are owed those, too.
      await parts.automations.load();
      await engine.recover(opened);
      await noteConfiguration(engine, config, clock);
      const token = await credentials.start();
      engine.mirrors.start();
      parts.removals.resume();
      await parts.extensions.start();
      engine.hub.addListener(http.listener);
      const at = await listen(http, tls, parts.ports, config, context.log, options);
      sockets.start();
      follow(parts);
      listening = true;
      const shown = config.auth.mode === "none" ? null : { value: token.token, created: token.created };
      return { ...at, token: shown };
    } catch (error) {
      await http.stop();
      await giveUp(parts);
      throw error;
    }
  }

  async function stop(grace_ms: number, delay_ms: number): Promise<void> {
    if (!listening) return;
    const left = parts.leaving.begin(delay_ms);
    // Without a delay nothing new is taken from the first moment on.
    if (delay_ms > 0) await left;
    tls?.close();
    const closing = inTime(beginStop(parts, grace_ms), DRAIN_MS, clock);
    await Promise.all([closing, inTime(engine.drain(grace_ms), grace_ms + DRAIN_MS, clock)]);
    await inTime(engine.hooks.idle(), DRAIN_MS, clock);
    await inTime(parts.tool_servers.stop(), DRAIN_MS, clock);
    credentials.close();
    await parts.extensions.close();
    await inTime(engine.journal.drained(), DRAIN_MS, clock);
    options.onDrained?.();
    await inTime(Promise.all([...engine.connections.all()].map((each) => each.drained(1))), FLUSH_MS, clock);
    sockets.closeAll(1012);
    sockets.stop();
    await http.stop();
    await inTime(parts.telemetry.close(), TELEMETRY_MS, clock);
    engine.journal.stop();
    rmSync(stateFile(config), { force: true });
    await store.close();
  }

  const composed = { engine, access, plugins, reloading, config, start };
  return {
    ...composed,
    stop: ({ grace_ms } = {}) => {
      const { grace, delay } = timesOf(config.server, grace_ms);
      if (stopping !== null) {
        parts.leaving.end();
        void engine.drain(grace);
      }
      return (stopping ??= stop(grace, delay));
    },
  };
}

/** Nothing begins by itself any more, and whoever is connected is told. */
async function beginStop(parts: ReturnType<typeof construct>, grace_ms: number): Promise<void> {
  const { engine, clock } = parts;
  parts.reloading.close();
  parts.backups.close();
  const payload = { grace_ms, retry_after_ms: RETRY_AFTER_MS };
  engine.connections.signal(encodeSignal("shutdown", clock.now(), payload), "shutdown", null);
  engine.observers.tell("shutdown", () => ({ type: "shutdown", ts: clock.now(), payload }));
  await Promise.all([parts.removals.close(), parts.retention.close(), parts.automations.stop()]);
}

/** Nothing is served any more, or ever was. */
async function giveUp({ extensions, engine, store }: ReturnType<typeof construct>): Promise<void> {
  await extensions.close();
  engine.mirrors.close();
  await engine.drain(0);
  await store.close();
}

/** What goes by the configuration from here on, whichever it is. */
function follow(parts: ReturnType<typeof construct>): void {
  const { tool_servers, settings } = parts;
  parts.automations.start();
  tool_servers.start();
  parts.backups.start();
  parts.retention.start();
  parts.telemetry.start();
  settings.live.onReplaced(() => tool_servers.start());
  parts.reloading.watch();
}

/** Everything a gateway is made of, put together and still: nothing is opened and nothing listens. */
export function construct({
  config: first,
  log,
  version,
  overrides = {},
  onFatal,
  owns_process = false,
  takeover = false,
  source,
  onOpening = () => undefined,
}: GatewayOptions) {
  const clock = overrides.clock ?? systemClock;
  const settings = liveConfig(first);
  const { live, config } = settings;
  const logOf = (component: LogComponent): Logger => log.child({ component });
  const fatal = (error: unknown): void => {
    log.error({ err: error }, "the outcome of a write is unknown: stopping so that nothing wrong is shown");
    onFatal(error);
  };
  const opening = createOpening({ config, log, onOpening });
  const storing = { settings, takeover, clock, log: logOf("store"), engine: () => engine };
  const store = overrides.store ?? createStore({ ...storing, onOpening: opening.tell });
  const onChanged = (now: Config, changed: readonly string[]): void =>
    noteReload(engine, now, clock, changed);
  const reloading = new Reloading({ live, source: source ?? null, clock, log: logOf("config"), onChanged });
  const { router, providers } = modelsOf(settings, clock, logOf("provider"), overrides.router);
  const backups = createScheduledBackups({ config, clock, log: logOf("store") });
  const skills = createSkills(config, clock, logOf("skill"));
  const tool_servers = createToolServers(config, version, clock, logOf("tool"));
  const whose = { name: NAME, version, owns_process, engine: () => engine };
  const made = createPlugins({ ...whose, config, clock, log: logOf("plugin"), providers });
  const { plugins, folders } = made;
  const tools = [skillTools(skills, settings), tool_servers, plugins];
  const otlp = createOtlp(config, version, clock, logOf("telemetry"));
  const engine: Engine = createEngine({
    name: NAME,
    version,
    store,
    durability: config.storage.durability,
    tracing: otlp.tracing,
    router,
    clock,
    limits: config.limits,
    log,
    settings: viewOf(live.derive(settingsOf)),
    costs: costsOf(live),
    toolbox: createTools(settings, clock, logOf("tool"), tools),
    capabilities: CAPABILITIES,
    plugins: () => plugins.list(),
    configuration: reloading,
    backup: () => backups.state(),
    lowDisk: lowDisk(config, clock),
    credentials: () => access.credentials,
    fatal,
  });
  const log_tail = keepLog(log, engine, clock);
  showSkills(skills, engine, clock);
  showPlugins(folders, engine);
  const families = metricsOf({ engine, config, version, plugins, otlp, log_tail, backups });
  const surface = { engine, settings, clock, logOf, version, router, plugins, families };
  const { access, ...outer } = surfaced(surface, overrides.isLocal);
  const extensions = extensionsOf(skills, made, clock);
  const telemetry = otlp.over(engine, families);
  live.onReplaced((next) => {
    reconfigure(log, next.log);
    engine.runs.lanes.startWaiting();
  });
  const put = { opening, engine, access, plugins, store, ...access, settings, reloading, backups };
  return { ...put, ...outer, extensions, telemetry, clock, tool_servers };
}

interface Surfaced extends Omit<SurfaceParts, "access" | "log" | "receive" | "leaving"> {
  readonly logOf: (component: LogComponent) => Logger;
}

/** Who may come in, what comes in without anybody connected, and what the transports are handed. */
function surfaced({ logOf, ...parts }: Surfaced, isLocal?: (address: string) => boolean) {
  const { engine, settings, clock } = parts;
  const { config } = settings;
  const keyFor = (purpose: string): Buffer => automations.keyFor(purpose);
  const access = createAccess(engine, settings, clock, logOf("auth"), { isLocal, keyFor });
  const log = logOf("automation");
  const automations: Automations = createAutomations(engine, access.credentials, settings, log);
  const removals = createRemovals(engine, automations.users, access.named, logOf("auth"));
  const days = (): number => config.storage.retention_days;
  const retention = new Retention({ ...engine, days, log: logOf("store") });
  const leaving = new Leaving(clock);
  const { receive } = automations;
  const context = surfaceOf({ ...parts, access, receive, leaving, log: logOf("transport") });
  return { access, automations, removals, retention, leaving, context };
}
