import type { HookContext } from "./hook-set.ts";
import type { Limits } from "./limits.ts";
import type { Clock, Logger } from "./ports.ts";

export interface HookOwnerOptions {
  /** What people call whoever the hooks are of; they are called in the order of these names. */
  readonly name: string;
  readonly log: Logger;
  /** Called once, when one of its hooks failed; none of them is called again. Must not throw. */
  readonly failed: (error: Error) => void;
  /** Every call of a hook goes through it, synchronously: answers and throws what `work` does. */
  readonly within?: <T>(work: () => T) => T;
}

interface Reading<T> {
  /** The run is stopped: its answer is not waited for any more. */
  readonly signal: AbortSignal | null;
  /** Null: it does not matter what it answers. @throws Error where what it answered is nothing that may be answered */
  readonly read: ((said: object) => T) | null;
}

interface Later {
  readonly hook: string;
  readonly work: (context: HookContext) => unknown;
}

/** The calls of one owner's hooks: each within its time, none after one has failed. */
export class HookOwner {
  readonly name: string;
  readonly #options: HookOwnerOptions;
  readonly #clock: Clock;
  readonly #limits: Pick<Limits, "hook_ms" | "hook_backlog">;
  readonly #leave: () => void;
  /** Calls nobody waits for, by session, while there is one. */
  readonly #waiting = new Map<string, Later[]>();
  readonly #open = new Set<() => void>();
  readonly #idle: (() => void)[] = [];
  #later = 0;
  #hasFailed = false;

  /** `leave` takes it out of those that are called. */
  constructor(
    options: HookOwnerOptions,
    clock: Clock,
    limits: Pick<Limits, "hook_ms" | "hook_backlog">,
    leave: () => void,
  ) {
    this.name = options.name;
    this.#options = options;
    this.#clock = clock;
    this.#limits = limits;
    this.#leave = leave;
  }

  /**
   * What a hook answers; undefined: nothing, or it failed, or nobody waits any more. At once where the hook does. Never
   * throws or rejects.
   */
  ask<T>(
    hook: string,
    work: (context: HookContext) => unknown,
    { signal, read }: Reading<T>,
  ): T | undefined | Promise<T | undefined> {
    if (this.#hasFailed) return undefined;
    const call = new HookCall(this.#options.log);
    try {
      const { within } = this.#options;
      const begun = within === undefined ? work(call) : within(() => work(call));
      return isPromise(begun) ? this.#asked(hook, begun, call, { signal, read }) : readAnswer(begun, read);
    } catch (error) {
      this.#fail(hook, error);
      return undefined;
    }
  }

  async #asked<T>(
    hook: string,
    begun: PromiseLike<unknown>,
    call: HookCall,
    { signal, read }: Reading<T>,
  ): Promise<T | undefined> {
    try {
      const said = await this.#settled(hook, begun, call, signal);
      return call.isOver ? undefined : readAnswer(said, read);
    } catch (error) {
      // Who was told to stop may say so in whatever way.
      if (!call.isOver) this.#fail(hook, error);
      return undefined;
    }
  }

  /** Calls a hook of which nobody waits for the answer, after those before it of the same session. */
  later(session_id: string, hook: string, work: (context: HookContext) => unknown): void {
    if (this.#hasFailed) return;
    if (this.#later >= this.#limits.hook_backlog) {
      return this.#fail(hook, new Error(`${this.#later} calls wait for it`));
    }
    this.#later++;
    const waiting = this.#waiting.get(session_id);
    if (waiting !== undefined) return void waiting.push({ hook, work });
    const first = [{ hook, work }];
    this.#waiting.set(session_id, first);
    return void this.#work(session_id, first);
  }

  async #work(session_id: string, waiting: Later[]): Promise<void> {
    // Not in the block that publishes.
    await Promise.resolve();
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const asked = this.ask(next.hook, next.work, { signal: null, read: null });
      if (asked instanceof Promise) await asked;
      this.#later--;
    }
    this.#waiting.delete(session_id);
    this.#wake();
  }

  /** Resolves when nothing that was begun is open. */
  idle(): Promise<void> {
    if (this.#isIdle()) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  /** Its answer, or undefined once nobody waits for it; it has to settle in its time all the same. */
  async #settled(
    hook: string,
    answer: PromiseLike<unknown>,
    call: HookCall,
    signal: AbortSignal | null,
  ): Promise<unknown> {
    let isSettled = false;
    const settle = (): void => void (isSettled = true);
    answer.then(settle, settle);
    // Most have nothing to wait for; those that have are timed.
    await Promise.resolve();
    return isSettled ? answer : this.#timed(hook, answer, call, signal);
  }

  async #timed(
    hook: string,
    answer: PromiseLike<unknown>,
    call: HookCall,
    signal: AbortSignal | null,
  ): Promise<unknown> {
    const over = Promise.withResolvers<undefined>();
    const stop = (): void => {
      call.end();
      over.resolve(undefined);
    };
    const { hook_ms } = this.#limits;
    const cancel = this.#clock.after(hook_ms, () =>
      this.#fail(hook, new Error(`did not settle within ${hook_ms} ms`)),
    );
    this.#open.add(stop);
    const settled = (): void => {
      cancel();
      this.#open.delete(stop);
      this.#wake();
    };
    answer.then(settled, settled);
    if (signal?.aborted === true) stop();
    signal?.addEventListener("abort", stop, { once: true });
    try {
      return await Promise.race([answer, over.promise]);
    } finally {
      signal?.removeEventListener("abort", stop);
    }
  }

  #fail(hook: string, cause: unknown): void {
    if (this.#hasFailed) return;
    this.#hasFailed = true;
    this.#leave();
    for (const stop of this.#open) stop();
    this.#open.clear();
    const why = cause instanceof Error ? cause.message : String(cause);
    this.#options.failed(new Error(`${hook}: ${why}`, { cause }));
    this.#wake();
  }

  #isIdle(): boolean {
    return this.#open.size === 0 && (this.#later === 0 || this.#hasFailed);
  }

  #wake(): void {
    if (this.#isIdle()) for (const wake of this.#idle.splice(0)) wake();
  }
}

/** What a hook is called with; its signal is made when it is asked for. */
class HookCall implements HookContext {
  readonly log: Logger;
  isOver = false;
  #abort: AbortController | null = null;

  constructor(log: Logger) {
    this.log = log;
  }

  get signal(): AbortSignal {
    this.#abort ??= new AbortController();
    if (this.isOver) this.#abort.abort();
    return this.#abort.signal;
  }

  end(): void {
    this.isOver = true;
    this.#abort?.abort();
  }
}

/** @throws Error where it is nothing that may be answered */
function readAnswer<T>(said: unknown, read: Reading<T>["read"]): T | undefined {
  if (said === undefined || said === null || read === null) return undefined;
  if (typeof said !== "object") throw new Error(`answered ${typeof said}`);
  return read(said);
}

function isPromise(value: unknown): value is PromiseLike<unknown> {
  return typeof value === "object" && value !== null && "then" in value && typeof value.then === "function";
}
