import type { Limits } from "../core/limits.ts";
import type { Clock, Logger } from "../core/ports.ts";
import type { Code } from "./code.ts";
import { isolates } from "./code.ts";
import { asksIsolation, Isolated } from "./isolated.ts";
import { importFresh } from "./module.ts";
import { Stage } from "./stage.ts";
import { Strays } from "./strays.ts";
import { Timers } from "./timers.ts";
import type { Watched } from "./watch.ts";
import { Watch } from "./watch.ts";

export interface LoaderOptions {
  readonly data_dir: string;
  readonly gateway: { readonly name: string; readonly version: string };
  readonly limits: Pick<
    Limits,
    "plugin_load_ms" | "plugin_call_ms" | "plugin_grace_ms" | "plugin_block_ms" | "plugin_spin_ms"
  >;
  /** Whether the process may be ended where a plug-in lets nothing else happen: it is the gateway's alone. */
  readonly owns_process: boolean;
  readonly clock: Clock;
  readonly log: Logger;
}

/** A plug-in, as it is about to be loaded. */
export interface Loadable extends Watched {
  /** The file to import. */
  readonly entry: string;
  /** Absolute: those it is made of, itself among them. */
  readonly files: readonly string[];
}

/** Runs the code of plug-ins, each on a stage of its own or in a worker, and looks after what it does unasked. */
export class Loader {
  readonly #options: LoaderOptions;
  readonly #watch: Watch;
  readonly #timers = new Timers();
  readonly #strays: Strays;

  constructor(options: LoaderOptions) {
    this.#options = options;
    this.#watch = new Watch(options);
    this.#strays = new Strays(options.log);
  }

  /** Why it is not to be loaded as it is; null: it may be. */
  refusal(loadable: Watched): string | null {
    return this.#watch.refusal(loadable);
  }

  /** It is loaded although it blocked the gateway. */
  forgive(source: string): void {
    this.#watch.forgive(source);
  }

  /** One at a time. `stale`: files of what it replaces. @throws what the module throws, or that it did not settle */
  async load(loadable: Loadable, stale: readonly string[]): Promise<Code> {
    const { entry, files } = loadable;
    if (asksIsolation(await Bun.file(entry).text())) {
      const code = await this.#isolated(loadable);
      if (code !== null) return code;
    }
    const stage = new Stage(loadable, this.#watch, this.#timers);
    this.#timers.install();
    this.#strays.add(stage);
    try {
      const exported = await stage.load(() =>
        this.#inTime(importFresh(entry, new Set([...files, ...stale]))),
      );
      if (isolates(exported)) {
        throw new Error(
          `isolate: write "isolate: true" into ${entry} itself, where it is read before its code runs`,
        );
      }
      return {
        exported,
        within: (work) => stage.within(work),
        onFault: (told) => stage.faults.hear(told),
        end: () => this.#end(stage),
      };
    } catch (error) {
      this.#end(stage);
      throw error;
    }
  }

  /** After all that was loaded has ended. Idempotent. */
  close(): void {
    this.#watch.close();
    this.#timers.uninstall();
    this.#strays.uninstall();
  }

  /** Null: it is not isolated after all. */
  async #isolated({ entry, source, name }: Loadable): Promise<Code | null> {
    const { gateway, limits, clock, log } = this.#options;
    const child = log.child({ plugin: name, source });
    const isolated = new Isolated({ path: entry, gateway, limits, clock, log: child });
    try {
      const exported = await this.#inTime(isolated.plugin());
      if (isolates(exported)) {
        return {
          exported,
          within: (work) => work(),
          onFault: (told) => isolated.faults.hear(told),
          end: () => isolated.end(),
        };
      }
    } catch (error) {
      isolated.end();
      throw error;
    }
    isolated.end();
    return null;
  }

  #end(stage: Stage): void {
    stage.close();
    this.#strays.remove(stage);
  }

  async #inTime<T>(loaded: Promise<T>): Promise<T> {
    const { clock, limits } = this.#options;
    const { plugin_load_ms } = limits;
    let cancel = (): void => undefined;
    const late = new Promise<never>((_resolve, reject) => {
      cancel = clock.after(plugin_load_ms, () =>
        reject(new Error(`it was not loaded within ${plugin_load_ms} ms: something it awaits never comes`)),
      );
    });
    try {
      return await Promise.race([loaded, late]);
    } finally {
      cancel();
    }
  }
}
