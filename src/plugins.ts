import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import type { Config } from "./config.ts";
import type { Caller } from "./core/call.ts";
import type { Clock, Logger } from "./core/ports.ts";
import type { Engine } from "./engine.ts";
import { localCall, localPrincipal } from "./local-call.ts";
import { pluginMethods } from "./method/plugin.ts";
import { handle } from "./method/registry.ts";
import type { Call } from "./method/registry.ts";
import type { PluginGateway } from "./plugin/api.ts";
import { blockedText, readBlocked } from "./plugin/blocked.ts";
import type { PluginDirectory } from "./plugin/directory.ts";
import { PluginFolders } from "./plugin/folders.ts";
import { inspectAll } from "./plugin/inspect.ts";
import { Loader } from "./plugin/loader.ts";
import type { MethodCaller } from "./plugin/methods.ts";
import type { PluginHost } from "./plugin/plugins.ts";
import { Stage } from "./plugin/stage.ts";
import { Plugins } from "./plugin/plugins.ts";
import type { ProviderList } from "./provider/list.ts";
import type { Scope } from "./protocol/schema.ts";

export interface PluginParts {
  readonly config: Config;
  readonly name: string;
  readonly version: string;
  /** The process is the gateway's alone. */
  readonly owns_process: boolean;
  readonly clock: Clock;
  readonly log: Logger;
  readonly providers: ProviderList;
  /** The engine they become part of; not asked for before `start`. */
  readonly engine: () => Engine;
}

/** The plug-ins of a gateway. Nothing is loaded before `folders.start`. */
export function createPlugins(parts: PluginParts): {
  readonly plugins: Plugins;
  readonly folders: PluginFolders;
  readonly loader: Loader;
} {
  const { config, owns_process, clock, log } = parts;
  const { limits, server } = config;
  const host = createHost(parts);
  const plugins = new Plugins({ host, tool_ms: () => config.tools.timeout_secs * 1_000, limits, clock, log });
  const directories = directoriesOf(config);
  const { auto_reload } = config.plugins;
  const loader = new Loader({ data_dir: server.data_dir, gateway: parts, limits, owns_process, clock, log });
  const folders = new PluginFolders({ directories, auto_reload, plugins, loader, limits, clock, log });
  return { plugins, folders, loader };
}

function directoriesOf({ server, plugins }: Config): PluginDirectory[] {
  return [
    { label: "<data_dir>/plugins", path: join(server.data_dir, "plugins"), wanted: false },
    ...[...new Set(plugins.directories)].map((path) => ({ label: path, path, wanted: true })),
  ];
}

/** Whether there is anything in the directories of plug-ins. */
export function hasPlugins(config: Config): boolean {
  return directoriesOf(config).some(({ path }) => existsSync(path) && readdirSync(path).length > 0);
}

/** What a gateway would load, and why it would not; none of it is run. */
export function inspectPlugins(config: Config) {
  return inspectAll(directoriesOf(config), config.limits);
}

/** Plug-ins that let nothing else happen, and are not loaded as they are. */
export function blockedPlugins(data_dir: string) {
  return [...readBlocked(data_dir).values()].map((blocked) => {
    const { name, source, at } = blocked;
    return { name, source, at, what: blockedText(blocked) };
  });
}

/** Lets an administrator see the plug-ins. */
export function showPlugins(plugins: PluginFolders, { registry }: Engine): void {
  for (const method of pluginMethods({ plugins })) registry.add(method);
}

function createHost(parts: PluginParts): PluginHost {
  const { engine, providers } = parts;
  return {
    has: (kind, name) => {
      if (kind === "method") return engine().registry.get(name) !== undefined;
      if (kind === "provider") return providers.all().some((each) => each.name === name);
      const { tools } = engine().toolbox.list();
      return tools.some((tool) => tool.name === name && !tool.source.startsWith("plugin:"));
    },
    addMethod: ({ definition, run }) =>
      engine().registry.add(
        handle(definition, (params, call) => run(params as Record<string, unknown>, callerOf(call))),
      ),
    removeMethod: (name) => engine().registry.remove(name),
    addProvider: (provider) => providers.add(provider),
    addHooks(running, hooks) {
      const { name, log } = running;
      const failed = (error: Error): void => running.fault("hook", error);
      return engine().hooks.add({ name, log, failed, within: (work) => running.within(work) }, hooks);
    },
    on: (type, observer) => engine().observers.on(type, observer),
    faulted: () => void engine().stats.plugin_faults++,
    gateway: (name, signal) => gatewayOf(parts, name, signal),
  };
}

function callerOf({ caller }: Call): MethodCaller {
  const { principal, client_id, signal } = caller;
  return { user: principal.user, scopes: principal.scopes, client_id, signal };
}

/** What a plug-in uses the gateway by. */
function gatewayOf(
  { engine, name, version }: PluginParts,
  plugin: string,
  signal: AbortSignal,
): PluginGateway {
  const as = (user: string, scopes?: readonly Scope[]): Caller => ({
    principal: localPrincipal(user, scopes),
    transport: "local",
    client_id: `plugin:${plugin}`,
    remote: "local",
    connection: null,
    signal,
  });
  return {
    name,
    version,
    call: (method, params, { user, scopes }) =>
      Stage.outside(() => localCall(engine().registry.dispatch, as(user, scopes), method, params)),
    async broadcast(event, payload, filter) {
      const params = { event, payload, ...(filter !== undefined && { filter }) };
      const caller = as(`plugin:${plugin}`, ["events.broadcast", "chat.read"]);
      const answer = await Stage.outside(() =>
        localCall(engine().registry.dispatch, caller, "event.broadcast", params),
      );
      return (answer as { readonly delivered: number }).delivered;
    },
  };
}
