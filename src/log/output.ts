import { constants, fstatSync, openSync, writeSync } from "node:fs";

/** What waits to be read at most; more is lost. */
const WAITING_BYTES = 1024 * 1024;
const RETRY_MS = 20;
/** How long what is left at the end is tried to be written. */
const LAST_MS = 500;

export interface OutputOptions {
  readonly fd: number;
  /** So many lines were lost before this one: there is room again. */
  readonly onLost: (lines: number) => void;
}

/**
 * Lines for somebody who may read them slowly, or not at all: nothing in this process waits for that. A pipe or a socket is
 * written as far as there is room in it (Bun has a socket not block once process.stdout was asked what it is, as the log does);
 * only a file or a terminal may keep us waiting.
 */
export class LogOutput {
  readonly #options: OutputOptions;
  readonly #fd: number;
  #waiting: Buffer[] = [];
  #bytes = 0;
  #lost = 0;
  #timer: NodeJS.Timeout | null = null;
  #isBroken = false;

  constructor(options: OutputOptions) {
    this.#options = options;
    this.#fd = withoutWaiting(options.fd);
    process.once("exit", () => this.#last());
  }

  write(line: string): void {
    if (this.#isBroken) return;
    const bytes = Buffer.from(line);
    // One that is longer than all that may wait is none of ours.
    if (this.#bytes + bytes.length > WAITING_BYTES) this.#lost++;
    else {
      this.#waiting.push(bytes);
      this.#bytes += bytes.length;
    }
    if (this.#timer === null) this.#go();
  }

  /** Writes what there is room for, in order. */
  #go(): void {
    this.#timer = null;
    while (this.#waiting.length > 0) {
      const all = this.#waiting.length === 1 ? (this.#waiting[0] as Buffer) : Buffer.concat(this.#waiting);
      const written = this.#write(all);
      this.#bytes -= written;
      this.#waiting = written < all.length ? [all.subarray(written)] : [];
      if (written === 0) break;
    }
    if (this.#isBroken) return;
    if (this.#waiting.length > 0) {
      this.#timer = setTimeout(() => this.#go(), RETRY_MS);
      this.#timer.unref();
    } else if (this.#lost > 0) {
      const lost = this.#lost;
      this.#lost = 0;
      this.#options.onLost(lost);
    }
  }

  /** How much of it was taken. That a line cannot be written is no reason for anything to end. */
  #write(bytes: Buffer): number {
    try {
      return writeSync(this.#fd, bytes);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === "EAGAIN" || code === "EBUSY") return 0;
      // Nobody will ever read it; of a disk that is full, or a terminal that is gone, the next line may know better.
      this.#isBroken = code === "EPIPE";
      return bytes.length;
    }
  }

  #last(): void {
    const end = performance.now() + LAST_MS;
    while (!this.#isBroken && this.#waiting.length > 0 && performance.now() < end) {
      if (this.#timer !== null) clearTimeout(this.#timer);
      this.#go();
      if (this.#waiting.length > 0) Bun.sleepSync(RETRY_MS);
    }
  }
}

/** The same pipe opened once more, so that whoever else has the other handle goes on as before. */
function withoutWaiting(fd: number): number {
  try {
    if (process.platform !== "linux" || !fstatSync(fd).isFIFO()) return fd;
    return openSync(`/proc/self/fd/${fd}`, constants.O_WRONLY | constants.O_NONBLOCK);
  } catch {
    return fd;
  }
}
