/** Plug-ins that can be told apart; those past it share the last number. */
const PLUGINS = 256;
const BEATS = 0;
const ON_STACK = 1;
const LOADING = 2;
const OPEN = 3;

export function newBeat(): SharedArrayBuffer {
  return new SharedArrayBuffer((OPEN + PLUGINS) * Int32Array.BYTES_PER_ELEMENT);
}

/**
 * What the gateway's thread tells the watchdog without being able to wait for it, in memory that both see. That thread
 * alone writes, and plainly: a call of something unknown follows, before which everything is written, and an atomic
 * write costs as much as everything else around a call of a plug-in.
 */
export class Beat {
  readonly #cells: Int32Array;

  constructor(memory: SharedArrayBuffer) {
    this.#cells = new Int32Array(memory);
  }

  /** Grows while the event loop turns. */
  get beats(): number {
    return Atomics.load(this.#cells, BEATS);
  }
  /** The plug-in whose code is on the stack, by number; 0: none is. */
  get on_stack(): number {
    return Atomics.load(this.#cells, ON_STACK);
  }
  /** The plug-in that is being loaded, by number; 0: none is. */
  get loading(): number {
    return Atomics.load(this.#cells, LOADING);
  }
  /** Calls of a plug-in that have not settled. */
  open(plugin: number): number {
    return Atomics.load(this.#cells, openAt(plugin));
  }

  beat(): void {
    this.#add(BEATS, 1);
  }
  load(plugin: number): void {
    this.#cells[LOADING] = plugin;
  }
  /** Code of a plug-in is called; answers whose code was on the stack, for leave(). */
  enter(plugin: number): number {
    const before = this.#cells[ON_STACK] ?? 0;
    this.#cells[ON_STACK] = plugin;
    return before;
  }
  leave(before: number): void {
    this.#cells[ON_STACK] = before;
  }
  addOpen(plugin: number, by: 1 | -1): void {
    this.#add(openAt(plugin), by);
  }

  #add(cell: number, by: number): void {
    this.#cells[cell] = (this.#cells[cell] ?? 0) + by;
  }
}

function openAt(plugin: number): number {
  return OPEN + Math.min(plugin, PLUGINS - 1);
}
