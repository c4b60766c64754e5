/** Plug-ins that can be told apart; those past it share the last number. */
const PLUGINS = 256;
const BEATS = 0;
const ON_STACK = 1;
const CALLS = 2;
const LOADING = 3;
const OPEN = 4;

export function newBeat(): SharedArrayBuffer {
  return new SharedArrayBuffer((OPEN + PLUGINS) * Int32Array.BYTES_PER_ELEMENT);
}

/** What the gateway's thread tells the watchdog without being able to wait for it, in memory that both see. */
export class Beat {
  readonly #cells: Int32Array;

  constructor(memory: SharedArrayBuffer) {
    this.#cells = new Int32Array(memory);
  }

  /** Counts on while the event loop turns. */
  get beats(): number {
    return Atomics.load(this.#cells, BEATS);
  }
  set beats(count: number) {
    Atomics.store(this.#cells, BEATS, count);
  }
  /** The plug-in whose code is on the stack, by number; 0: none is. */
  get on_stack(): number {
    return Atomics.load(this.#cells, ON_STACK);
  }
  set on_stack(plugin: number) {
    Atomics.store(this.#cells, ON_STACK, plugin);
  }
  /** Counts the calls into plug-ins, so that one long call is told from many short ones. */
  get calls(): number {
    return Atomics.load(this.#cells, CALLS);
  }
  set calls(count: number) {
    Atomics.store(this.#cells, CALLS, count);
  }
  /** The plug-in that is being loaded, by number; 0: none is. */
  get loading(): number {
    return Atomics.load(this.#cells, LOADING);
  }
  set loading(plugin: number) {
    Atomics.store(this.#cells, LOADING, plugin);
  }

  /** Calls of a plug-in that have not settled. */
  open(plugin: number): number {
    return Atomics.load(this.#cells, OPEN + Math.min(plugin, PLUGINS - 1));
  }
  addOpen(plugin: number, by: 1 | -1): void {
    Atomics.add(this.#cells, OPEN + Math.min(plugin, PLUGINS - 1), by);
  }
}
