import { AsyncLocalStorage } from "node:async_hooks";
import { Faults } from "./code.ts";
import type { Timers } from "./timers.ts";
import type { Watch, Watched } from "./watch.ts";

/** A plug-in that is about to be loaded, and the files it is made of. */
export interface Staged extends Watched {
  /** Absolute; code in them is its code. */
  readonly files: readonly string[];
}

const playing = new AsyncLocalStorage<Stage>();
/** While a module of it is run for the first time, its code is on no stage yet. */
const loading: { stage: Stage | null } = { stage: null };

/** One version of a plug-in, while its code may run: whose code that is, whoever calls it. */
export class Stage {
  readonly about: Staged;
  /** What failed that nobody was to be told of: a promise nobody waited for, a timer. */
  readonly faults = new Faults();
  readonly #watch: Watch;
  readonly #number: number;
  readonly #timers: Timers;
  #isClosed = false;

  constructor(about: Staged, watch: Watch, timers: Timers) {
    this.about = about;
    this.#watch = watch;
    this.#number = watch.numberOf(about.source);
    this.#timers = timers;
  }

  /** The one whose code runs; null: no plug-in's, as far as can be told. */
  static playing(): Stage | null {
    const stage = playing.getStore() ?? null;
    if (stage !== null || loading.stage === null) return stage;
    return loading.stage.isIn(new Error("who asks").stack) ? loading.stage : null;
  }

  /** Runs what is the gateway's although a plug-in called it: what comes of it is not the plug-in's. */
  static outside<T>(work: () => T): T {
    return playing.exit(work);
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Whether a stack leads through its files. */
  isIn(stack: string | undefined): boolean {
    return stack !== undefined && this.about.files.some((file) => stack.includes(file));
  }

  /** Runs what loads it. One at a time. */
  async load<T>(work: () => Promise<T>): Promise<T> {
    loading.stage = this;
    try {
      return await this.#watch.load(this.about, work);
    } finally {
      loading.stage = null;
    }
  }

  /** Calls code of it: answers and throws what `work` does. */
  within<T>(work: () => T): T {
    return this.#watch.within(this.#number, () => playing.run(this, work));
  }

  /** Nothing of it goes on by itself. Idempotent. */
  close(): void {
    this.#isClosed = true;
    this.#timers.clear(this);
  }
}
