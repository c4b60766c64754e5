import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Bench } from "./bench.ts";
import { cleanEnvironment, startGateway } from "./gateway.ts";
import type { ModelProcess } from "./model.ts";
import type { Child } from "./process.ts";
import { startChild } from "./process.ts";
import type { RawProcess } from "./raw.ts";

/** Nothing listens there: for gateways whose model is never asked. */
const NO_MODEL = "http://127.0.0.1:1/v1";

export interface OpenBench extends Bench, AsyncDisposable {}

/** What one bench gets; disposing of it ends its processes and removes its directories. */
export function openBench(options: {
  readonly quick: boolean;
  readonly minutes: number | null;
  readonly command: readonly string[];
}): OpenBench {
  const { quick, minutes, command } = options;
  const children: Child[] = [];
  const directories: string[] = [];

  function directory(): string {
    const made = mkdtempSync(join(tmpdir(), "agentbus-bench-"));
    directories.push(made);
    return made;
  }

  function script(file: string, args: readonly string[], env: Readonly<Record<string, string>> = {}): Child {
    const child = startChild([process.execPath, join(import.meta.dir, file), ...args], {
      cwd: directory(),
      env: { ...cleanEnvironment(), ...env },
    });
    children.push(child);
    return child;
  }

  return {
    quick,
    minutes,
    command,
    pick: (full, short) => (quick ? short : full),
    async gateway({ model = NO_MODEL, data_dir = directory(), env = {} } = {}) {
      const gateway = await startGateway({ command, data_dir, model, env });
      children.push(gateway);
      return gateway;
    },
    async raw(): Promise<RawProcess> {
      const child = script("raw.ts", []);
      const url = String((await child.line("url"))["url"]);
      return { ...child, url, socketUrl: `${url.replace(/^http/, "ws")}/ws` };
    },
    async model(): Promise<ModelProcess> {
      const child = script("model.ts", []);
      return { ...child, url: String((await child.line("url"))["url"]) };
    },
    async script<T>(
      file: string,
      args: readonly string[],
      env?: Readonly<Record<string, string>>,
    ): Promise<T> {
      const child = script(file, args, env);
      const { result } = await child.line("result");
      await child.exited;
      return result as T;
    },
    directory,
    say: (text) => process.stderr.write(`  ${text}\n`),
    async [Symbol.asyncDispose]() {
      await Promise.all(children.map((child) => child.stop()));
      for (const each of directories) rmSync(each, { recursive: true, force: true });
    },
  };
}
