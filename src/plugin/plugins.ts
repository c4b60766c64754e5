import type { Limits } from "../core/limits.ts";
import type { HookSet } from "../core/hook-set.ts";
import type { AddedRoute, PluginView } from "../core/plugins.ts";
import type { Clock, Logger, Provider, Tool, ToolSource } from "../core/ports.ts";
import { Serial } from "../core/serial.ts";
import type { Plugin, PluginGateway } from "./api.ts";
import type { Code } from "./code.ts";
import type { AddedMethod } from "./methods.ts";
import type { Contribution } from "./contribution.ts";
import { contribute } from "./contribution.ts";
import type { Listen } from "./listeners.ts";
import { prefixed } from "./routes.ts";
import { Running } from "./running.ts";
import { readPlugin } from "./shape.ts";

const KINDS = ["method", "tool", "provider"] as const;
/** What there may be one of under a name. */
export type Kind = (typeof KINDS)[number];

/** The gateway, as far as plug-ins become part of it. */
export interface PluginHost {
  /** Whether there is one of that name; of tools, one that is no plug-in's. */
  has(kind: Kind, name: string): boolean;
  addMethod(method: AddedMethod): void;
  removeMethod(name: string): void;
  /** The answer takes it out again. */
  addProvider(provider: Provider): () => void;
  /** The answer takes them out again, and resolves when none of them is open. */
  addHooks(running: Running, hooks: HookSet): () => Promise<void>;
  readonly on: Listen;
  /** What a plug-in uses the gateway by; its calls end with the signal. */
  gateway(name: string, signal: AbortSignal): PluginGateway;
  /** A plug-in failed and is unloaded. */
  faulted(): void;
}

export interface PluginsOptions {
  readonly host: PluginHost;
  /** Longest call of a tool that says nothing else. */
  readonly tool_ms: () => number;
  readonly limits: Pick<
    Limits,
    "plugin_call_ms" | "plugin_load_ms" | "plugin_stream_ms" | "plugin_grace_ms" | "hook_backlog"
  >;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Where a plug-in comes from, and what became of it. */
interface Entry {
  readonly source: string;
  running: Running | null;
  loaded_at: number;
  /** Why it is not what its source says; null: it is. */
  reason: string | null;
  /** What it is called until it says so. */
  name: string;
  /** What it adds; null: nothing. */
  added: Contribution | null;
}

/** The plug-ins that are part of the gateway, by where they come from. */
export class Plugins implements ToolSource {
  readonly #options: PluginsOptions;
  readonly #entries = new Map<string, Entry>();
  readonly #serial = new Serial();
  /** Versions that were replaced, and have not ended yet. */
  readonly #retiring = new Set<Running>();
  #tools: readonly Tool[] = [];
  #routes: readonly AddedRoute[] = [];

  constructor(options: PluginsOptions) {
    this.#options = options;
  }

  /**
   * Makes a plug-in part of the gateway, in the place of the one from the same source, which stays until the new one is
   * set up. @throws Error that says why it is not taken: then everything is as it was
   */
  async put(source: string, code: Code): Promise<string> {
    return this.#serial.run("", async () => {
      let running: Running | null = null;
      try {
        const plugin = readPlugin(code.exported);
        this.#requireRoom(plugin, this.#entries.get(source) ?? null);
        const begun = this.#start(source, plugin, code);
        running = begun;
        await begun.setUp();
        code.onFault((what, error) => this.#fault(source, begun, what, error));
        this.#swap(source, begun);
        return plugin.name;
      } catch (error) {
        await running?.end();
        code.end();
        throw error;
      }
    });
  }

  /** What is there now cannot be loaded; what was loaded before stays. `name`: what it is called until it says so. */
  failed(source: string, name: string, reason: string): void {
    const entry = this.#entries.get(source);
    if (entry !== undefined) entry.reason = reason;
    else this.#entries.set(source, { source, running: null, loaded_at: 0, reason, name, added: null });
    const kept = (entry?.running ?? null) !== null;
    this.#options.log.error(
      { plugin: entry?.name ?? name, source, reason },
      kept ? "a plug-in cannot be loaded: its last good version stays" : "a plug-in cannot be loaded",
    );
  }

  /** Its source is gone. */
  async drop(source: string): Promise<void> {
    await this.#serial.run("", async () => {
      const entry = this.#entries.get(source);
      if (entry === undefined) return;
      this.#entries.delete(source);
      await this.#takeOut(entry);
      this.#options.log.info({ plugin: entry.name, source }, "a plug-in was unloaded");
    });
  }

  /** Ends them all. */
  async close(): Promise<void> {
    const retiring = [...this.#retiring].map((running) => running.end());
    await Promise.all([...retiring, ...[...this.#entries.keys()].map((source) => this.drop(source))]);
  }

  tools(): readonly Tool[] {
    return this.#tools;
  }

  /** The same list until one comes or goes. */
  routes(): readonly AddedRoute[] {
    return this.#routes;
  }

  list(): readonly PluginView[] {
    return [...this.#entries.values()].map(viewOf).sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  #start(source: string, plugin: Plugin, code: Code): Running {
    const { host, clock, log, limits } = this.#options;
    const running: Running = new Running({
      plugin,
      log: log.child({ plugin: plugin.name }),
      clock,
      limits,
      gateway: (signal) => host.gateway(plugin.name, signal),
      onFault: (what, error) => this.#fault(source, running, what, error),
      code,
    });
    return running;
  }

  /** @throws Error where something of it would take the place of something else */
  #requireRoom(plugin: Plugin, before: Entry | null): void {
    const { host } = this.#options;
    const others = [...this.#entries.values()].filter((each) => each !== before && each.running !== null);
    const twin = others.find((each) => each.name === plugin.name);
    if (twin !== undefined) throw new Error(`there is a plug-in ${plugin.name} already, from ${twin.source}`);
    const mine = namesOf(before?.running?.plugin);
    const wanted = namesOf(plugin);
    for (const kind of KINDS) {
      for (const name of wanted[kind]) {
        const owner = others.find((each) => namesOf(each.running?.plugin)[kind].includes(name));
        if (owner === undefined && (mine[kind].includes(name) || !host.has(kind, name))) continue;
        const whose = owner === undefined ? "the gateway has one" : `the plug-in ${owner.name} has one`;
        throw new Error(`there is a ${kind} ${name} already (${whose}): choose another name`);
      }
    }
  }

  /** From here on it is this one. */
  #swap(source: string, running: Running): void {
    const { host, clock, log, tool_ms, limits } = this.#options;
    const bounds = { tool_ms: tool_ms(), backlog: limits.hook_backlog };
    const before = this.#entries.get(source);
    const closed = before?.added?.takeOut();
    const { name, version } = running.plugin;
    const added = contribute(running, host, bounds);
    this.#entries.set(source, { source, running, loaded_at: clock.now(), reason: null, name, added });
    this.#changed();
    const { running: old = null } = before ?? {};
    if (old !== null) this.#retire(old, closed);
    log.info({ plugin: name, source, ...(version !== undefined && { version }) }, "a plug-in was loaded");
  }

  /** What it has begun it finishes, once nothing new comes to it. */
  #retire(running: Running, closed: Promise<void> | undefined): void {
    this.#retiring.add(running);
    void (async () => {
      await closed;
      await running.retire();
      this.#retiring.delete(running);
    })();
  }

  #fault(source: string, running: Running, what: string, error: Error): void {
    const { log, host } = this.#options;
    host.faulted();
    log.error({ plugin: running.name, source, what, err: error }, "a plug-in failed and is unloaded");
    const entry = this.#entries.get(source);
    // A version that was replaced ends by itself.
    if (entry?.running !== running) return void running.end();
    entry.reason = `${what}: ${error.message}`;
    void this.#takeOut(entry);
    return undefined;
  }

  async #takeOut(entry: Entry): Promise<void> {
    const { running, added } = entry;
    Object.assign(entry, { running: null, added: null });
    this.#changed();
    void added?.takeOut();
    await running?.end();
  }

  #changed(): void {
    const added = [...this.#entries.values()].flatMap((each) => each.added ?? []);
    this.#tools = added.flatMap(({ tools }) => tools);
    this.#routes = added.flatMap(({ routes }) => routes);
  }
}

/** What it has that only one may have. */
function namesOf(plugin: Plugin | undefined): Record<Kind, readonly string[]> {
  return {
    method: Object.keys(plugin?.methods ?? {}),
    tool: Object.keys(plugin?.tools ?? {}),
    provider: (plugin?.providers ?? []).map(({ name }) => name),
  };
}

function viewOf({ source, running, reason, name, loaded_at }: Entry): PluginView {
  const plugin: Partial<Plugin> = running?.plugin ?? {};
  const { version, description, isolate = false } = plugin;
  const keys = (of: object | undefined): string[] => Object.keys(of ?? {});
  return {
    name,
    state: running === null ? "failed" : reason === null ? "ready" : "stale",
    ...(reason !== null && { reason }),
    source,
    ...(version !== undefined && { version }),
    ...(description !== undefined && { description }),
    isolated: isolate,
    ...(running !== null && { loaded_at }),
    methods: keys(plugin.methods),
    tools: keys(plugin.tools),
    providers: (plugin.providers ?? []).map((each) => each.name),
    events: keys(plugin.events),
    routes: keys(plugin.routes).map((route) => route.replace(/\/.*/, (path) => prefixed(name, path))),
    hooks: keys(plugin.hooks),
  };
}
