import type { Limits } from "../core/limits.ts";
import type { Logger } from "../core/ports.ts";
import { Beat, newBeat } from "./beat.ts";
import type { Blocked } from "./blocked.ts";
import { blockedText, readBlocked, writeBlocked } from "./blocked.ts";
import type { WatchdogReport, WatchdogRequest } from "./watchdog.ts";
import { workerUrl } from "./worker-url.ts";

export interface WatchOptions {
  readonly data_dir: string;
  readonly limits: Pick<Limits, "plugin_block_ms" | "plugin_spin_ms">;
  /** Whether the process may be ended: it is the gateway's alone. */
  readonly owns_process: boolean;
  readonly log: Logger;
}

/** A plug-in, as it is about to be loaded. */
export interface Watched {
  /** Where it comes from: what it is known by. */
  readonly source: string;
  readonly name: string;
  /** Of its files. */
  readonly digest: string;
}

const BEAT_MS = 50;

/**
 * Says which plug-in's code is running, and has a watchdog look whether the event loop turns meanwhile. One that
 * blocked it is not loaded at the next start, until its files change or somebody asks for it.
 */
export class Watch {
  readonly #options: WatchOptions;
  readonly #beat: Beat;
  readonly #memory = newBeat();
  readonly #numbers = new Map<string, number>();
  /** From before this start. */
  readonly #blocked: Map<string, Blocked>;
  /** The watchdog looks, or never will. */
  readonly #watching = Promise.withResolvers<void>();
  #worker: Worker | null = null;
  #cancel: () => void = () => undefined;

  constructor(options: WatchOptions) {
    this.#options = options;
    this.#beat = new Beat(this.#memory);
    this.#blocked = readBlocked(options.data_dir);
  }

  /** Why it is not to be loaded as it is; null: it may be. */
  refusal({ source, digest }: Watched): string | null {
    const blocked = this.#blocked.get(source);
    if (blocked === undefined || blocked.digest !== digest) return null;
    const when = new Date(blocked.at).toISOString();
    return `disabled: at ${when} ${blockedText(blocked)}. Mend it, or have it loaded as it is with plugin.reload`;
  }

  /** Somebody asked for it, or it is not what it was: it gets another chance. */
  forgive(source: string): void {
    this.#blocked.delete(source);
    const written = readBlocked(this.#options.data_dir);
    if (written.delete(source)) writeBlocked(this.#options.data_dir, written);
  }

  /** Runs what loads a plug-in: from here on the event loop is watched. */
  async load<T>(watched: Watched, work: () => Promise<T>): Promise<T> {
    const plugin = this.numberOf(watched.source);
    const { plugin_block_ms: block_ms, plugin_spin_ms: spin_ms } = this.#options.limits;
    this.#tell({ op: "about", plugin, ...watched, block_ms, spin_ms });
    // What spins at once is to be seen, too.
    await this.#watching.promise;
    this.#beat.load(plugin);
    try {
      return await work();
    } finally {
      this.#beat.load(0);
    }
  }

  /** What it is called here, whichever version of it. */
  numberOf(source: string): number {
    const number = this.#numbers.get(source) ?? this.#numbers.size + 1;
    this.#numbers.set(source, number);
    return number;
  }

  /** Calls code of a plug-in: answers and throws what `work` does. */
  within<T>(plugin: number, work: () => T): T {
    const before = this.#beat.enter(plugin);
    try {
      const answer = work();
      if (answer instanceof Promise) this.#open(plugin, answer);
      return answer;
    } finally {
      this.#beat.leave(before);
    }
  }

  /** Idempotent. */
  close(): void {
    this.#cancel();
    this.#watching.resolve();
    this.#worker?.terminate();
    this.#worker = null;
  }

  #open(plugin: number, answer: Promise<unknown>): void {
    const settled = (): void => this.#beat.addOpen(plugin, -1);
    this.#beat.addOpen(plugin, 1);
    answer.then(settled, settled);
  }

  #tell(request: WatchdogRequest): void {
    this.#worker ??= this.#start();
    this.#worker.postMessage(request);
  }

  #start(): Worker {
    const { data_dir, owns_process, log } = this.#options;
    const worker = new Worker(workerUrl("watchdog"), { type: "module", ref: false });
    worker.onmessage = ({ data }: MessageEvent<WatchdogReport>) => {
      if (data.op === "watching") this.#watching.resolve();
      else this.#report(data);
    };
    worker.onerror = (event: ErrorEvent) => {
      event.preventDefault();
      log.error({ reason: event.message }, "nobody sees any more whether a plug-in blocks the gateway");
      this.#watching.resolve();
    };
    const orders: WatchdogRequest = {
      op: "watch",
      memory: this.#memory,
      data_dir,
      // Who stops at a breakpoint does not want to lose the process.
      may_end: owns_process && !isDebugged(),
    };
    worker.postMessage(orders);
    // Not by the gateway's clock: a test may have stopped that.
    const timer = setInterval(() => this.#beat.beat(), BEAT_MS);
    timer.unref();
    this.#cancel = () => clearInterval(timer);
    return worker;
  }

  #report({ suspects, blocked_ms }: Extract<WatchdogReport, { op: "over" }>): void {
    const { log } = this.#options;
    for (const { source, name, seen } of suspects) {
      const fields = { plugin: name, source, blocked_ms };
      if (seen) {
        log.error(
          fields,
          "a plug-in let nothing else happen: it is not loaded at the next start unless it changes",
        );
      } else log.warn(fields, "nothing else happened while a plug-in was at work");
    }
    if (suspects.length === 0)
      log.warn({ blocked_ms }, "nothing happened for a while; no plug-in was at work");
  }
}

function isDebugged(): boolean {
  return process.execArgv.some((argument) => argument.startsWith("--inspect"));
}
