import { configOf } from "../config.ts";
import { acceptsTailscale } from "../config/tailscale.ts";
import { VERSION } from "../build.ts";
import { composeGateway } from "../gateway.ts";
import type { Composed } from "../gateway.ts";
import type { Logger } from "../core/ports.ts";
import { createLogger } from "../log.ts";
import { ownCode } from "../plugin/code.ts";
import type { Supervisor } from "../supervisor.ts";
import { findSupervisor } from "../supervisor.ts";
import { NAME } from "../surface.ts";
import { createAuth } from "./auth-calls.ts";
import { createChat } from "./chat-calls.ts";
import type { GatewayConfig } from "./config.ts";
import { broadcast, clientsOf, createConnections, sendTo } from "./connection-calls.ts";
import type { EmbedOptions, Gateway, Started } from "./gateway.ts";
import { Local } from "./local.ts";
import { Subscribers } from "./subscribers.ts";

/**
 * A gateway for a program of Bun's, as the command `agentbus serve` runs one. Nothing is opened before start(); it reads no
 * file of configuration, listens to no signal and ends no process. Several may be in one process, each with a data directory
 * of its own.
 * @param config the options of agentbus.toml; what is left out has its default
 * @throws ConfigError, one line that says what is wrong where and what to do
 * @example
 * const gateway = createGateway({ server: { port: 0, data_dir: "./data" }, llm: { default_provider: "demo" } });
 * const { url } = await gateway.start();
 */
export function createGateway(config: GatewayConfig = {}, options: EmbedOptions = {}): Gateway {
  const { config: whole, warnings } = configOf(config, { env: process.env, cwd: process.cwd() });
  const log = options.log ?? createLogger(whole.log);
  for (const warning of warnings) log.warn({}, warning);
  const life = new Life(options.ownsProcess === true ? () => supervisorOf(composed, log) : null);
  const composed = composeGateway({
    config: whole,
    log,
    version: VERSION,
    owns_process: options.ownsProcess === true,
    takeover: options.takeover === true,
    source: options.source,
    executable: options.executable,
    onFatal: (error) => {
      life.fail();
      local.lose();
      subscribers.finish();
      if (options.onFatal !== undefined) return options.onFatal(error);
      void composed.stop({ grace_ms: 0 });
    },
    onOpening: (doing) => {
      life.opening(doing);
      options.onOpening?.(doing);
    },
    onDrained: () => {
      life.end();
      subscribers.finish();
    },
  });
  const { engine, access, plugins } = composed;
  const local = new Local({ engine, isRunning: () => life.isRunning });
  const subscribers = new Subscribers(local);
  let used = 0;
  return {
    start: () => life.start(composed),
    stop: ({ graceMs } = {}) => life.stop(composed, graceMs),
    reload: () => life.reload(() => composed.reloading.reload()),
    status() {
      const { server, auth } = whole;
      return {
        name: NAME,
        version: VERSION,
        status: life.state === "running" ? engine.status() : life.state,
        uptime: engine.uptime(),
        connections: engine.connections.size,
        clients: clientsOf(local),
        config: {
          host: server.host,
          port: life.port ?? server.port,
          auth_mode: auth.mode,
          max_connections: engine.limits.max_connections,
        },
      };
    },
    auth: createAuth(local, access, acceptsTailscale(whole.auth)),
    chat: createChat(local),
    connections: createConnections(local),
    broadcast: (event, payload, filter) => broadcast(local, event, payload, filter),
    sendTo: (sessionId, event, payload, how) => sendTo(local, sessionId, event, payload, how),
    subscribe: (sessionId, how = {}) => subscribers.open(sessionId, how),
    on: (event, listener) => engine.observers.on(event, listener),
    async use(plugin) {
      const source = `use:${++used}`;
      await plugins.put(source, ownCode(plugin));
      return () => plugins.drop(source);
    },
  };
}

/** Whoever started this process and waits for signs of life from it. */
function supervisorOf({ engine: { clock, store } }: Composed, log: Logger): Promise<Supervisor> {
  return findSupervisor({ env: process.env, pid: process.pid, clock, log, answers: () => store.answers() });
}

/** How long a stop may take beside the grace of the running answers before whoever watches the process ends it. */
const STOP_MS = 60_000;

/** From start to stop, each of which happens once. */
class Life {
  #state: "stopped" | "running" | "failed" = "stopped";
  #starting: Promise<Started> | null = null;
  #stopping: Promise<void> | null = null;
  readonly #findSupervisor: (() => Promise<Supervisor>) | null;
  /** Who is told of it, from before the start; null: not started, or nobody. */
  #supervisor: Supervisor | null = null;
  /** The port that was taken; null: none was. */
  port: number | null = null;

  constructor(findOne: (() => Promise<Supervisor>) | null) {
    this.#findSupervisor = findOne;
  }

  get state(): "stopped" | "running" | "failed" {
    return this.#state;
  }
  get isRunning(): boolean {
    return this.#state === "running";
  }

  fail(): void {
    this.#state = "failed";
  }

  /** Nothing can be asked for any more. */
  end(): void {
    if (this.#state === "running") this.#state = "stopped";
  }

  /** What is done to open the database; null: that is over. */
  opening(doing: string | null): void {
    this.#supervisor?.opening(doing);
  }

  /** As `work` says; who is told of this process is told of that, too. */
  reload<T>(work: () => T): T {
    // Who waits for it to be ready would take the end of it for that; who was told that it stops is told nothing else any more.
    const supervisor = this.isRunning && this.#stopping === null ? this.#supervisor : null;
    return supervisor === null ? work() : supervisor.whileReloading(work);
  }

  start(composed: Composed): Promise<Started> {
    if (this.#starting !== null || this.#stopping !== null) {
      return Promise.reject(new Error("start() was called before: make another gateway to start again"));
    }
    this.#starting = this.#start(composed);
    return this.#starting;
  }

  /** One that is starting is waited for. */
  async stop(composed: Composed, grace_ms: number | undefined): Promise<void> {
    const how = grace_ms === undefined ? {} : { grace_ms };
    if (this.#stopping !== null && this.isRunning) void composed.stop(how);
    this.#stopping ??= (async () => {
      const started = await this.#starting?.catch(() => null);
      if (!started) return;
      const { shutdown_delay_secs, shutdown_grace_secs } = composed.config.server;
      this.#supervisor?.stopping((grace_ms ?? (shutdown_delay_secs + shutdown_grace_secs) * 1_000) + STOP_MS);
      await composed.stop(how);
      this.#supervisor?.close();
    })();
    await this.#stopping;
  }

  async #start(composed: Composed): Promise<Started> {
    this.#supervisor = (await this.#findSupervisor?.()) ?? null;
    const { certificate, ...started } = await this.#startOf(composed);
    this.port = Number(new URL(started.url).port);
    this.#supervisor?.ready(`listening on ${started.url}`);
    if (this.#state === "stopped") this.#state = "running";
    if (certificate === null) return { ...started, certificate };
    const { cert, fingerprint, expires_at, self_signed } = certificate;
    return { ...started, certificate: { cert, fingerprint, expiresAt: expires_at, selfSigned: self_signed } };
  }

  async #startOf(composed: Composed): ReturnType<Composed["start"]> {
    try {
      return await composed.start();
    } catch (error) {
      this.#supervisor?.close();
      throw error;
    }
  }
}
