import { mkdir, mkdtemp, realpath, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { systemClock } from "../../src/clock.ts";
import type { Limits } from "../../src/core/limits.ts";
import type { Clock } from "../../src/core/ports.ts";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import { Hooks } from "../../src/core/hooks.ts";
import { Observers } from "../../src/core/observers.ts";
import type { Happening } from "../../src/core/observers.ts";
import type { PluginGateway } from "../../src/plugin/api.ts";
import { PluginFolders } from "../../src/plugin/folders.ts";
import { Loader } from "../../src/plugin/loader.ts";
import type { AddedMethod } from "../../src/plugin/methods.ts";
import { createProviderList } from "../../src/provider/list.ts";
import type { ProviderList } from "../../src/provider/list.ts";
import type { PluginHost } from "../../src/plugin/plugins.ts";
import { Plugins } from "../../src/plugin/plugins.ts";
import { createLogbook } from "../support/logbook.ts";

export interface PluginWorldOptions {
  readonly directories?: readonly string[];
  readonly auto_reload?: boolean;
  readonly limits?: Partial<Limits>;
  readonly clock?: Clock;
  /** Methods and tools that the gateway has itself. */
  readonly taken?: readonly string[];
}

/** Plug-ins in real directories, in a gateway that is only what they are added to. */
export interface PluginWorld extends AsyncDisposable {
  readonly plugins: Plugins;
  readonly folders: PluginFolders;
  readonly log: ReturnType<typeof createLogbook>;
  readonly methods: ReadonlyMap<string, AddedMethod>;
  readonly hooks: Hooks;
  readonly providers: ProviderList;
  /** Something happens. */
  tell(type: string, more?: Partial<Happening>): void;
  /** A path below the world's folder. */
  path(...parts: string[]): string;
  /** A file that appears whole, as editors write it, with the folders it needs. */
  write(file: string, content: string): Promise<void>;
  remove(file: string): Promise<void>;
  /** `name state`, in the order of the list. */
  states(): string[];
  reason(name: string): string | undefined;
  call(method: string, params?: Record<string, unknown>, signal?: AbortSignal): Promise<unknown>;
}

const GATEWAY: PluginGateway = {
  name: "agentbus",
  version: "0.0.0",
  call: (method, params, by) => Promise.resolve({ method, params, by }),
  broadcast: () => Promise.resolve(0),
};

export async function openPlugins(options: PluginWorldOptions = {}): Promise<PluginWorld> {
  const { directories = ["plugins"], auto_reload = false, taken = [], clock = systemClock } = options;
  const home = await realpath(await mkdtemp(join(tmpdir(), "agentbus-plugins-")));
  const path = (...parts: string[]): string => join(home, ...parts);
  const log = createLogbook();
  const limits = { ...DEFAULT_LIMITS, ...options.limits };
  const methods = new Map<string, AddedMethod>();
  const hooks = new Hooks({ clock, limits });
  const observers = new Observers(log);
  const providers = createProviderList(() => []);
  const host: PluginHost = {
    has: (kind, name) =>
      taken.includes(name) ||
      (kind === "method" && methods.has(name)) ||
      (kind === "provider" && providers.all().some((each) => each.name === name)),
    addMethod: (method) => void methods.set(method.definition.name, method),
    removeMethod: (name) => void methods.delete(name),
    addProvider: (provider) => providers.add(provider),
    addHooks(running, set) {
      const failed = (error: Error): void => running.fault("hook", error);
      return hooks.add({ name: running.name, log, failed }, set);
    },
    faulted: () => undefined,
    on: (type, observer) => observers.on(type, observer),
    gateway: () => GATEWAY,
  };
  const plugins = new Plugins({ host, tool_ms: () => 5_000, limits, clock, log });
  const loader = new Loader({ data_dir: home, gateway: GATEWAY, owns_process: false, limits, clock, log });
  const folders = new PluginFolders({
    directories: directories.map((label) => ({ label, path: path(label), wanted: false })),
    auto_reload,
    plugins,
    loader,
    limits,
    clock,
    log,
  });
  return {
    plugins,
    folders,
    log,
    methods,
    hooks,
    providers,
    tell: (type, more = {}) => observers.tell(type, () => ({ type, ts: 0, payload: {}, ...more })),
    path,
    async write(file, content) {
      await mkdir(dirname(path(file)), { recursive: true });
      await writeFile(path(`${file}.new`), content, { mode: 0o644 });
      await rename(path(`${file}.new`), path(file));
    },
    remove: (file) => rm(path(file), { recursive: true }),
    states: () => plugins.list().map(({ name, state }) => `${name} ${state}`),
    reason: (name) => plugins.list().find((view) => view.name === name)?.reason,
    async call(method, params = {}, signal = new AbortController().signal) {
      const found = methods.get(method);
      if (found === undefined) throw new Error(`there is no method ${method}`);
      return found.run(params, { user: "ada", scopes: new Set(), client_id: "test", signal });
    },
    async [Symbol.asyncDispose]() {
      folders.close();
      await plugins.close();
      loader.close();
      await rm(home, { recursive: true, force: true });
    },
  };
}

/** The text of a plug-in with one method, `NAME.say`, that answers what `says` is an expression of. */
export function sayer(name: string, says: string, head = ""): string {
  return `import { definePlugin, Type } from "agentbus/plugin";
${head}
export default definePlugin({
  name: ${JSON.stringify(name)},
  methods: {
    "${name}.say": {
      scope: "chat.read",
      doc: "Says it.",
      params: Type.Object({}),
      result: Type.Object({ said: Type.String() }),
      run: async () => ({ said: ${says} }),
    },
  },
});
`;
}
