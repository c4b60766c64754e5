import { rmSync } from "node:fs";
import type { Access } from "./access.ts";
import { createAccess } from "./access.ts";
import type { Certificate } from "./certificate.ts";
import { createAutomations } from "./automations.ts";
import { systemClock } from "./clock.ts";
import type { Config } from "./config.ts";
import { noteConfiguration } from "./config-change.ts";
import { costsOf } from "./costs.ts";
import type { Clock, Logger, ModelRouter } from "./core/ports.ts";
import type { OpenedStore, Store } from "./core/store.ts";
import type { Engine } from "./engine.ts";
import { createEngine } from "./engine.ts";
import { keepLog } from "./kept-log.ts";
import { listenersOf } from "./listeners.ts";
import { encodeSignal } from "./protocol/frames.ts";
import { metricsOf } from "./metrics.ts";
import { modelsOf } from "./models.ts";
import { createOtlp } from "./otlp.ts";
import type { Plugins } from "./plugin/plugins.ts";
import { createPlugins, showPlugins } from "./plugins.ts";
import { createSkills, showSkills, skillTools } from "./skills.ts";
import { stateFile, writeState } from "./state-file.ts";
import { CAPABILITIES, NAME, surfaceOf } from "./surface.ts";
import { createStore } from "./storage.ts";
import type { Tls } from "./tls.ts";
import { createTls } from "./tls.ts";
import type { HttpTransport } from "./transport/http.ts";
import { createHttp } from "./transport/http.ts";
import { createToolServers } from "./tool-servers.ts";
import { toolsOf } from "./tools.ts";
import { createSockets } from "./transport/ws.ts";
import { createRemovals } from "./users.ts";

/** How long the last writes may take at a stop; the ends they lack are written at the next start. */
const DRAIN_MS = 5_000;
/** How long the last bytes may take to leave at a stop. */
const FLUSH_MS = 2_000;
const RETRY_AFTER_MS = 500;
/** How long the last of telemetry may take to be sent: what nobody takes is lost. */
const TELEMETRY_MS = 2_000;
/** How long a start waits for the skills: a directory on a network drive may not answer. */
const SKILLS_MS = 5_000;

export interface GatewayOptions {
  readonly config: Config;
  readonly log: Logger;
  readonly version: string;
  readonly overrides?: {
    readonly store?: Store;
    readonly router?: ModelRouter;
    readonly clock?: Clock;
    /** Whether an address is this machine's own: nobody on the tailnet has it. */
    readonly isLocal?: (address: string) => boolean;
  };
  /** The outcome of a write is unknown: nothing may go on. What is still open has to be stopped, or the process to end. */
  readonly onFatal: (error: unknown) => void;
  /** The last group is published, and the store is about to be closed. */
  readonly onDrained?: () => void;
  /** A gateway that runs on the data directory is asked to stop, and waited for. Default: it is an error. */
  readonly takeover?: boolean;
  /** The process is the gateway's alone: it is ended where a plug-in lets nothing else happen in it. Default: no. */
  readonly owns_process?: boolean;
}

export interface Started {
  /** Where the first listener is, e.g. http://127.0.0.1:18789 */
  readonly url: string;
  readonly urls: readonly string[];
  /** The administrator's local token; `created`: it was just made. Null in mode none. */
  readonly token: { readonly value: string; readonly created: boolean } | null;
  /** What it proves itself with; null: no TLS. */
  readonly certificate: Certificate | null;
}

export interface Composed {
  readonly engine: Engine;
  readonly access: Access;
  readonly plugins: Plugins;
  /** Once. @throws GatewayError UNAVAILABLE with the one line to show */
  start(): Promise<Started>;
  /**
   * Running answers get `grace_ms` (default: server.shutdown_grace_secs). Called again it takes that grace back: what
   * still runs is ended when the new one is over.
   */
  stop(options?: { readonly grace_ms?: number }): Promise<void>;
}

/** The composition root: constructs everything and hands it in. Nothing listens before start(). */
export function composeGateway(options: GatewayOptions): Composed {
  const parts = construct(options);
  const { config, log } = options;
  const { engine, store, credentials, context, clock } = parts;
  const tls = createTls(config, clock, log);
  const sockets = createSockets(context);
  const http = createHttp(context, sockets);
  let stopping: Promise<void> | null = null;
  let listening = false;

  async function start(): Promise<Started> {
    const opened = await store.open();
    try {
      tellLastStop(opened, log);
      await engine.recover(opened);
      await noteConfiguration(engine, config, clock);
      const token = await credentials.start();
      await parts.automations.load();
      parts.removals.resume();
      await parts.extensions.start();
      engine.hub.addListener(http.listener);
      const at = await listen(http, tls, parts.ports, options);
      sockets.start();
      parts.tool_servers.start();
      parts.telemetry.start();
      listening = true;
      const shown = config.auth.mode === "none" ? null : { value: token.token, created: token.created };
      return { ...at, token: shown };
    } catch (error) {
      await parts.extensions.close();
      await http.stop();
      await engine.drain(0);
      await store.close();
      throw error;
    }
  }

  async function stop(grace_ms: number): Promise<void> {
    if (!listening) return;
    tls?.close();
    const shutdown = { grace_ms, retry_after_ms: RETRY_AFTER_MS };
    engine.connections.signal(encodeSignal("shutdown", clock.now(), shutdown), "shutdown", null);
    engine.observers.tell("shutdown", () => ({ type: "shutdown", ts: clock.now(), payload: shutdown }));
    await inTime(parts.removals.close(), DRAIN_MS, clock);
    await inTime(engine.drain(grace_ms), grace_ms + DRAIN_MS, clock);
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

  return {
    engine,
    access: parts.access,
    plugins: parts.plugins,
    start,
    stop: ({ grace_ms = config.server.shutdown_grace_secs * 1_000 } = {}) => {
      if (stopping !== null) void engine.drain(grace_ms);
      stopping ??= stop(grace_ms);
      return stopping;
    },
  };
}

function tellLastStop({ last_stop, unended }: OpenedStore, log: Logger): void {
  if (last_stop === "clean") return;
  log.warn({ last_stop, runs: unended.length }, "the last process did not stop cleanly");
}

/** Everything a gateway is made of, put together and still: nothing is opened and nothing listens. */
export function construct({
  config,
  log,
  version,
  overrides = {},
  onFatal,
  owns_process = false,
  takeover = false,
}: GatewayOptions) {
  const clock = overrides.clock ?? systemClock;
  const common = { config, clock, log, version };
  const { limits } = config;
  const fatal = (error: unknown): void => {
    log.error({ err: error }, "the outcome of a write is unknown: stopping so that nothing wrong is shown");
    onFatal(error);
  };
  const store = overrides.store ?? createStore({ config, takeover, clock, log, engine: () => engine, fatal });
  const { router, providers } = modelsOf(config, clock, log, overrides.router);
  const skills = createSkills(config, clock, log);
  const tool_servers = createToolServers(config, version, clock, log);
  const made = createPlugins({
    config,
    name: NAME,
    version,
    owns_process,
    clock,
    log,
    providers,
    engine: () => engine,
  });
  const { plugins, folders } = made;
  const otlp = createOtlp(config, version, clock, log);
  const engine: Engine = createEngine({
    name: NAME,
    version,
    store,
    durability: config.storage.durability,
    tracing: otlp.tracing,
    router,
    clock,
    limits,
    log,
    on_busy: config.agent.on_busy,
    costs: costsOf(config),
    ...toolsOf(config, clock, log, [skillTools(skills, config), tool_servers, plugins]),
    system_prompt: config.agent.system_prompt,
    run_timeout_ms: config.agent.run_timeout_secs * 1_000,
    max_concurrent_runs: config.agent.max_concurrent_runs,
    event_grace_ms: config.storage.event_grace_secs * 1_000,
    storage_stall_ms: config.storage.storage_stall_secs * 1_000,
    capabilities: CAPABILITIES,
    plugins: () => plugins.list(),
    isLive: (principal) => access.credentials.isLive(principal),
    fatal,
  });
  const log_tail = keepLog(log, engine, clock);
  showSkills(skills, engine, clock);
  showPlugins(folders, engine);
  const access = createAccess(engine, config, clock, log, overrides.isLocal);
  const automations = createAutomations(engine, access, config, clock, log);
  const { users, receive } = automations;
  const removals = createRemovals(engine, users, config, clock, log);
  const families = metricsOf({ engine, config, version, plugins, otlp, log_tail });
  const context = surfaceOf({ ...common, engine, access, router, plugins, receive, families });
  const extensions = extensionsOf(skills, made, clock);
  const telemetry = otlp.over(engine, families);
  const put = { engine, access, plugins, store, ...access, automations };
  return { ...put, removals, extensions, telemetry, context, clock, tool_servers };
}

/** What reads directories and runs what is in them. */
function extensionsOf(
  skills: ReturnType<typeof createSkills>,
  { plugins, folders, loader }: ReturnType<typeof createPlugins>,
  clock: Clock,
) {
  return {
    async start(): Promise<void> {
      await inTime(skills.start(), SKILLS_MS, clock);
      await folders.start();
    },
    async close(): Promise<void> {
      skills.close();
      folders.close();
      await inTime(plugins.close(), DRAIN_MS, clock);
      loader.close();
    },
  };
}

/** Opens what is listened on, and keeps its certificate up to date. `ports` is told of the ports that were taken. */
async function listen(
  http: HttpTransport,
  tls: Tls | null,
  ports: number[],
  { config, log }: GatewayOptions,
): Promise<Omit<Started, "token">> {
  const certificate = (await tls?.open()) ?? null;
  const urls: string[] = [];
  for (const { host, port, option } of listenersOf(config)) {
    const { url, port: taken } = await http.listen(host, port, option, certificate);
    ports.push(taken);
    urls.push(url);
  }
  const url = urls[0] ?? "";
  writeState(config, url, certificate);
  tls?.watch((next) => {
    http.renew(next);
    try {
      writeState(config, url, next);
    } catch (error) {
      log.warn({ err: error }, "the commands on this machine do not know the new certificate");
    }
  });
  return { url, urls, certificate };
}

/** Resolves with the work, or after `ms`: a stop has to end, storage that refuses or a reader that does not read or not. */
async function inTime(work: Promise<unknown>, ms: number, clock: Clock): Promise<void> {
  let cancel: () => void = () => undefined;
  const over = new Promise<void>((resolve) => (cancel = clock.after(ms, resolve)));
  await Promise.race([work, over]);
  cancel();
}
