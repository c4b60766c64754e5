import { Stage } from "./stage.ts";

type Callback = (...args: unknown[]) => unknown;
type Timer = ReturnType<typeof setTimeout> | ReturnType<typeof setImmediate>;

const NAMES = ["setTimeout", "setInterval", "setImmediate"] as const;
const CLEARS = [clearTimeout, clearImmediate] as const;

/** Those of one plug-in that may still fire. One that was cleared is held by nobody, and forgotten. */
class Running {
  #timers = new Set<WeakRef<Timer>>();
  #sweep_at = 64;

  add(timer: Timer): void {
    this.#timers.add(new WeakRef(timer));
    if (this.#timers.size < this.#sweep_at) return;
    this.#timers = new Set([...this.#timers].filter((each) => each.deref() !== undefined));
    this.#sweep_at = 64 + 2 * this.#timers.size;
  }

  end(): void {
    // A number is cleared by either, and so is a timer of any kind.
    for (const each of this.#timers) for (const clear of CLEARS) clear(each.deref() as never);
    this.#timers.clear();
  }
}

/**
 * The timers of plug-ins: what one starts ends with it, and runs as its code. Those of everybody else pass through. In
 * place while `install`ed, in the whole process.
 */
export class Timers {
  readonly #running = new WeakMap<Stage, Running>();
  #undo: (() => void)[] = [];

  /** Idempotent. */
  install(): void {
    if (this.#undo.length > 0) return;
    for (const name of NAMES) {
      const original = globalThis[name] as (callback: Callback, ...rest: unknown[]) => Timer;
      const mine = (callback: Callback, ...rest: unknown[]): Timer => {
        const stage = typeof callback === "function" ? Stage.playing() : null;
        if (stage === null) return original(callback, ...rest);
        return this.#keep(
          stage,
          original((...args) => stage.within(() => callback(...args)), ...rest),
        );
      };
      // What promisify looks for is on it, too.
      Object.defineProperties(mine, Object.getOwnPropertyDescriptors(original));
      Object.assign(globalThis, { [name]: mine });
      this.#undo.push(() => {
        // Somebody else may stand in its place by now.
        if ((globalThis[name] as unknown) === mine) Object.assign(globalThis, { [name]: original });
      });
    }
  }

  /** Idempotent. */
  uninstall(): void {
    for (const undo of this.#undo.splice(0)) undo();
  }

  /** Ends those of a plug-in. */
  clear(stage: Stage): void {
    this.#running.get(stage)?.end();
  }

  #keep(stage: Stage, timer: Timer): Timer {
    const running = this.#running.get(stage) ?? new Running();
    this.#running.set(stage, running);
    running.add(timer);
    // What goes on by beginning itself anew ends here.
    if (stage.isClosed) running.end();
    return timer;
  }
}
