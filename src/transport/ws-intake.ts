import type { Turns } from "./turn.ts";

/** A socket and who handles its frames, as Bun's ServerWebSocket has it. */
export interface IntakeSocket {
  readonly data: { receive(raw: string | Uint8Array): void };
  /** Reads nothing more; what was read already still comes. */
  pause(): void;
  resume(): void;
}

export interface IntakeOptions<S> {
  readonly turns: Turns;
  /** A frame that had to wait could not be handled; of one that had not, `take` throws. */
  readonly failed: (error: unknown, socket: S) => void;
}

interface Waiting {
  readonly frames: (string | Uint8Array)[];
  /** The next one to handle. */
  at: number;
}

/** Frames of one socket before the next one's, where several wait. */
const SLICE = 16;

/**
 * Hands frames to their connections, in order. Past the end of a turn they wait here, their socket is not read, and
 * sockets take turns. What waits of a socket is at most what was read of it at once, 64 KiB.
 */
export class Intake<S extends IntakeSocket> {
  readonly #failed: IntakeOptions<S>["failed"];
  readonly #turns: Turns;
  readonly #waiting = new Map<S, Waiting>();
  #scheduled = false;

  constructor({ turns, failed }: IntakeOptions<S>) {
    this.#failed = failed;
    this.#turns = turns;
  }

  /** A frame came. */
  take(socket: S, raw: string | Uint8Array): void {
    const waiting = this.#waiting.get(socket);
    if (waiting !== undefined) {
      waiting.frames.push(raw);
    } else if (!this.#turns.over) {
      socket.data.receive(raw);
    } else {
      socket.pause();
      this.#waiting.set(socket, { frames: [raw], at: 0 });
      this.#schedule();
    }
  }

  /** The socket is closed: what waits of it came too late. */
  forget(socket: S): void {
    this.#waiting.delete(socket);
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#turns.later(() => this.#next());
  }

  #next(): void {
    this.#scheduled = false;
    for (const [socket, waiting] of this.#waiting) {
      if (this.#turns.over) break;
      // Out and in again at the end: the loop comes by once more, and the next turn goes on with the one behind it.
      this.#waiting.delete(socket);
      if (waiting.frames.length > waiting.at + SLICE) this.#waiting.set(socket, waiting);
      else socket.resume();
      this.#slice(socket, waiting);
    }
    if (this.#waiting.size > 0) this.#schedule();
  }

  #slice(socket: S, waiting: Waiting): void {
    const { frames, at } = waiting;
    waiting.at += SLICE;
    for (const raw of frames.slice(at, waiting.at)) {
      try {
        socket.data.receive(raw);
      } catch (error) {
        this.#failed(error, socket);
      }
    }
  }
}
