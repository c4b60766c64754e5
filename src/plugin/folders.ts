import { stat } from "node:fs/promises";
import type { Limits } from "../core/limits.ts";
import type { PluginBook, PluginDirectoryView, PluginView } from "../core/plugins.ts";
import type { Clock, Logger } from "../core/ports.ts";
import type { Candidate, Look, PluginDirectory } from "./directory.ts";
import { lookInto } from "./directory.ts";
import type { Inspected } from "./inspect.ts";
import { inspect, reasonOf } from "./inspect.ts";
import type { Loader } from "./loader.ts";
import type { Plugins } from "./plugins.ts";

export interface FoldersOptions {
  readonly directories: readonly PluginDirectory[];
  readonly auto_reload: boolean;
  readonly plugins: Plugins;
  readonly loader: Loader;
  readonly limits: Pick<Limits, "plugins" | "plugin_bytes" | "plugin_files" | "plugin_load_ms">;
  readonly clock: Clock;
  readonly log: Logger;
}

/** How often it is asked whether anything changed, and how long it has to stay the same before it is read. */
const TICK_MS = 500;
const SETTLE_MS = 100;
const SETTLES_MAX = 20;
/** Every so many of these all is looked at, whatever the marks say. */
const TICKS_PER_LOOK = 10;

/** The plug-ins of some directories: loaded when they appear, loaded anew when a file of theirs changes. */
export class PluginFolders implements PluginBook {
  readonly #options: FoldersOptions;
  readonly #tried = new Map<string, Inspected>();
  #looks: readonly Look[] = [];
  #marks = "";
  #looking: Promise<unknown> = Promise.resolve();
  #cancelTick: () => void = () => undefined;
  #closed = false;

  constructor(options: FoldersOptions) {
    this.#options = options;
  }

  /** Loads them all, and follows what becomes of them where that is wished. Never rejects. */
  async start(): Promise<void> {
    await this.reload();
    if (this.#options.auto_reload) this.#tick(1);
  }

  /** Nothing is loaded from here on. Idempotent. */
  close(): void {
    this.#closed = true;
    this.#cancelTick();
  }

  list(): readonly PluginView[] {
    return this.#options.plugins.list();
  }

  directories(): readonly PluginDirectoryView[] {
    return this.#looks.map(({ directory, real, reason }) => ({
      directory: directory.label,
      found: real !== null,
      ...(reason !== null && { reason }),
    }));
  }

  /** One after the other. */
  reload(name?: string): Promise<readonly string[]> {
    const looked = this.#looking.then(() =>
      this.#look((view) => view.state === "failed" || view.name === name),
    );
    this.#looking = looked.catch(() => undefined);
    return looked;
  }

  /** `again`: which of those that did not change are loaded all the same. */
  async #look(again: (view: PluginView) => boolean): Promise<readonly string[]> {
    const { directories, limits, plugins, log } = this.#options;
    const marks = await this.#marksNow();
    const looks = await Promise.all(directories.map((directory) => lookInto(directory, limits.plugins)));
    if (this.#closed) return [];
    for (const { directory, reason } of looks) {
      const before = this.#looks.find((each) => each.directory === directory)?.reason ?? null;
      if (reason !== null && reason !== before)
        log.error({ directory: directory.path, reason }, "no plug-in of a directory is loaded");
    }
    this.#looks = looks;
    const candidates = looks.flatMap(({ found }) => found);
    const sources = new Set(candidates.map(({ source }) => source));
    const changed: string[] = [];
    for (const source of this.#tried.keys()) {
      if (sources.has(source)) continue;
      this.#tried.delete(source);
      changed.push(...plugins.list().flatMap((view) => (view.source === source ? [view.name] : [])));
      await plugins.drop(source);
      this.#options.loader.forgive(source);
    }
    const forced = new Set(
      plugins
        .list()
        .filter(again)
        .map(({ source }) => source),
    );
    for (const candidate of candidates) {
      const name = await this.#try(candidate, looks, forced.has(candidate.source));
      if (name !== null) changed.push(name);
    }
    this.#marks = marks;
    return changed.sort();
  }

  /** Loads one unless it was tried as it is; its name where it is not what it was. */
  async #try(candidate: Candidate, looks: readonly Look[], force: boolean): Promise<string | null> {
    const { source, entry, name } = candidate;
    const { plugins, limits, loader } = this.#options;
    const before = this.#tried.get(source);
    const tried = await inspect(candidate, looks, limits);
    if (tried.digest === before?.digest && !force) return null;
    this.#tried.set(source, tried);
    try {
      if (tried.reason !== null) throw new Error(tried.reason);
      const loadable = { source, name, entry, ...tried };
      if (force) loader.forgive(source);
      const refusal = loader.refusal(loadable);
      if (refusal !== null) throw new Error(refusal);
      const loaded = await plugins.put(source, await loader.load(loadable, before?.files ?? []));
      // What blocked the gateway before is not what is there now.
      loader.forgive(source);
      return loaded;
    } catch (error) {
      plugins.failed(source, name, reasonOf(error));
      return null;
    }
  }

  #tick(count: number): void {
    this.#cancelTick = this.#options.clock.after(TICK_MS, () => {
      void this.#glance(count % TICKS_PER_LOOK === 0).then(() => {
        if (!this.#closed) this.#tick(count + 1);
      });
    });
  }

  async #glance(all: boolean): Promise<void> {
    let marks = await this.#marksNow();
    if (!all && marks === this.#marks) return;
    // An editor may write in several steps; a plug-in may write beside itself all the time.
    let before = "";
    for (let rest = SETTLES_MAX; rest > 0 && before !== marks && !this.#closed; rest--) {
      before = marks;
      await new Promise<void>((resolve) => this.#options.clock.after(SETTLE_MS, resolve));
      marks = await this.#marksNow();
    }
    if (this.#closed) return;
    const looked = this.#looking.then(() => this.#look(() => false));
    this.#looking = looked.catch(() => undefined);
    await looked;
  }

  /** Changes when a file of a plug-in does, or something appears where one may. */
  async #marksNow(): Promise<string> {
    const paths = new Set([
      ...this.#options.directories.map(({ path }) => path),
      ...this.#looks.flatMap(({ folders }) => folders),
      ...[...this.#tried.values()].flatMap(({ files }) => files),
    ]);
    const marks = [...paths].map((path) =>
      stat(path, { bigint: true }).then(
        ({ ino, mtimeNs, ctimeNs, size }) => `${ino}:${mtimeNs}:${ctimeNs}:${size}`,
        () => "none",
      ),
    );
    return (await Promise.all(marks)).join();
  }
}
