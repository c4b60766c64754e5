/** Milliseconds that a run spent outside of the gateway. */
export interface RunTime {
  model_ms: number;
  /** Calls of tools, and the wait for those who allow them. */
  tools_ms: number;
}

/** Runs of which is known how long they waited for others: those that run, and the last ones that ended. */
const RUNS_MAX = 1_000;

/** How long runs waited for models and tools, for as long as somebody may ask. */
export class RunTimes {
  readonly #times = new Map<string, RunTime>();

  add(run_id: string, what: keyof RunTime, ms: number): void {
    const time = this.#times.get(run_id) ?? { model_ms: 0, tools_ms: 0 };
    time[what] += ms;
    this.#times.delete(run_id);
    this.#times.set(run_id, time);
    const [oldest] = this.#times.keys();
    if (this.#times.size > RUNS_MAX && oldest !== undefined) this.#times.delete(oldest);
  }

  /** Undefined: nothing is known of it. */
  of(run_id: string): Readonly<RunTime> | undefined {
    return this.#times.get(run_id);
  }
}
