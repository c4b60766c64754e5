import { readFileSync } from "node:fs";
import { pause } from "./clock.ts";

export interface Child extends AsyncDisposable {
  readonly pid: number;
  /** The first line of its output that is JSON and has this key. Rejects when it ends before. */
  line(key: string): Promise<Record<string, unknown>>;
  /** SIGTERM, and its exit code; SIGKILL where it takes longer than 10 s. Idempotent. */
  stop(): Promise<number>;
  readonly exited: Promise<number>;
}

/** A process whose output is read as lines; what it says on stderr is shown when it fails to start. */
export function startChild(
  command: readonly string[],
  options: { readonly cwd: string; readonly env: Readonly<Record<string, string>> },
): Child {
  const child = Bun.spawn([...command], {
    cwd: options.cwd,
    env: options.env,
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const output = new Lines();
  void output.read(child.stdout);
  const errors = new Response(child.stderr).text();
  let stopping: Promise<number> | null = null;

  async function line(key: string): Promise<Record<string, unknown>> {
    const found = await output.find(key);
    if (found !== null) return found;
    const code = await child.exited;
    throw new Error(`${command.join(" ")} ended with ${code}: ${(await errors).trim()}`);
  }

  async function stop(): Promise<number> {
    child.kill("SIGTERM");
    const timer = setTimeout(() => child.kill("SIGKILL"), 10_000);
    const code = await child.exited;
    clearTimeout(timer);
    return code;
  }

  return {
    pid: child.pid,
    line,
    stop: () => (stopping ??= stop()),
    exited: child.exited,
    async [Symbol.asyncDispose]() {
      await (stopping ??= stop());
    },
  };
}

/** Lines of JSON as they come. */
class Lines {
  readonly #seen: Record<string, unknown>[] = [];
  #wake: (() => void)[] = [];
  #ended = false;

  async read(stream: ReadableStream<Uint8Array>): Promise<void> {
    const decoder = new TextDecoder();
    let rest = "";
    for await (const bytes of stream) {
      const lines = (rest + decoder.decode(bytes, { stream: true })).split("\n");
      rest = lines.pop() ?? "";
      for (const text of lines) {
        if (text.startsWith("{")) this.#seen.push(JSON.parse(text) as Record<string, unknown>);
      }
      this.#tell();
    }
    this.#ended = true;
    this.#tell();
  }

  async find(key: string): Promise<Record<string, unknown> | null> {
    for (;;) {
      const found = this.#seen.find((each) => key in each);
      if (found !== undefined) return found;
      if (this.#ended) return null;
      await new Promise<void>((resolve) => this.#wake.push(resolve));
    }
  }

  #tell(): void {
    for (const wake of this.#wake.splice(0)) wake();
  }
}

/** Resident memory, bytes. */
export function residentBytes(pid: number): number {
  return statusKib(pid, "VmRSS") * 1024;
}

/** The most it ever was, bytes. */
export function peakBytes(pid: number): number {
  return statusKib(pid, "VmHWM") * 1024;
}

function statusKib(pid: number, field: string): number {
  const text = readFileSync(`/proc/${pid}/status`, "utf8");
  return Number(new RegExp(`^${field}:\\s+(\\d+) kB`, "m").exec(text)?.[1] ?? Number.NaN);
}

const TICKS_A_SECOND = 100;

/** Processor time used so far, seconds, of all threads. */
export function cpuSeconds(pid: number): number {
  const text = readFileSync(`/proc/${pid}/stat`, "utf8");
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / TICKS_A_SECOND;
}

const SETTLE_STEP_MS = 250;
const SETTLED_STEPS = 4;
const SETTLED_BYTES = 256 * 1024;

/** Resident memory once it has stayed the same for a second, or after `longest_ms`. */
export async function settledBytes(pid: number, longest_ms = 6_000): Promise<number> {
  const end = performance.now() + longest_ms;
  let before = residentBytes(pid);
  let same = 0;
  while (same < SETTLED_STEPS && performance.now() < end) {
    await pause(SETTLE_STEP_MS);
    const now = residentBytes(pid);
    same = Math.abs(now - before) <= SETTLED_BYTES ? same + 1 : 0;
    before = now;
  }
  return before;
}
