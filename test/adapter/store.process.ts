import { join } from "node:path";
import type { Limits } from "../../src/core/limits.ts";

export interface ScriptProcess extends AsyncDisposable {
  readonly pid: number;
  readonly write: (text: string) => void;
  /** The next line it says. Rejects when it ends first. */
  readonly line: () => Promise<Record<string, unknown>>;
  /** Ends it as a crash does; every line it said. */
  readonly kill: () => Promise<Record<string, unknown>[]>;
}

/** Starts a process that opens a store in `data_dir`: see store.child.ts. */
export function startStoreProcess(
  mode: string,
  data_dir: string,
  { limits = {}, env = {} }: { limits?: Partial<Limits>; env?: Record<string, string> } = {},
): ScriptProcess {
  return startScript(join(import.meta.dir, "store.child.ts"), [mode, data_dir, JSON.stringify(limits)], env);
}

/** Starts a script that says lines of JSON. */
export function startScript(
  path: string,
  args: readonly string[],
  env: Record<string, string> = {},
): ScriptProcess {
  const child = Bun.spawn([process.execPath, path, ...args], {
    stdin: "pipe",
    stdout: "pipe",
    stderr: "inherit",
    env: { ...process.env, ...env },
  });
  const said: Record<string, unknown>[] = [];
  const lines = readLines(child.stdout, said);
  return {
    pid: child.pid,
    write(text) {
      void child.stdin.write(text);
      void child.stdin.flush();
    },
    async line() {
      const next = await lines.next();
      if (next.done === true)
        throw new Error(`the process ended with ${await child.exited} before its next line`);
      return next.value;
    },
    async kill() {
      child.kill("SIGKILL");
      await child.exited;
      for await (const _ of lines) continue;
      return said;
    },
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await child.exited;
    },
  };
}

async function* readLines(stream: ReadableStream<Uint8Array>, said: Record<string, unknown>[]) {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of stream) {
    const parts = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = parts.pop() ?? "";
    for (const part of parts) {
      const line = JSON.parse(part) as Record<string, unknown>;
      said.push(line);
      yield line;
    }
  }
}
