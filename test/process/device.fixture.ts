import { AGENTBUS, agentbus, inTerminal, plainEnvironment, serve, workplace } from "../support/executable.ts";
import type { Outcome, Served, Typed } from "../support/executable.ts";

/** A machine with a home of its own, and a user on it. */
export interface Machine extends Disposable {
  readonly path: string;
  run(...argv: string[]): Promise<Outcome>;
  /** The answer of a command that has to work, as JSON. */
  json<T>(...argv: string[]): Promise<T>;
  typed(...argv: string[]): Typed;
  /** A command that goes on while the test does something else. */
  start(...argv: string[]): Running;
}

export interface Running extends AsyncDisposable {
  /** Lines of stdout so far. */
  readonly lines: readonly string[];
  /** Resolves with that line of stdout, from 0. */
  line(index: number): Promise<string>;
  ended(): Promise<Outcome>;
}

const LINE_MS = 30_000;

export function machine(toml?: string, more: Record<string, string> = {}): Machine {
  const place = workplace();
  if (toml !== undefined) place.file("agentbus.toml", toml);
  const options = { cwd: place.path, env: { ...homeOf(place.path), ...more } };
  const run: Machine["run"] = (...argv) => agentbus(argv, options);
  return {
    path: place.path,
    run,
    async json<T>(...argv: string[]) {
      const { code, out, err } = await run(...argv);
      if (code !== 0) throw new Error(`${argv.join(" ")} ended with ${code}: ${err}`);
      return JSON.parse(out) as T;
    },
    typed: (...argv) => inTerminal(argv, options),
    start: (...argv) => running(argv, options),
    [Symbol.dispose]: () => place[Symbol.dispose](),
  };
}

/** A machine with a gateway that takes devices; `toml` is more of its configuration, `server` of that section. */
export function gatewayMachine(toml = "", server = ""): Machine {
  const auth = '[auth]\nmode = "multi"\nmodes = ["token", "device"]\n';
  return machine(`[server]\nport = 0\ndata_dir = "data"\n${server}${auth}${toml}`);
}

export function serveOn({ path }: Machine, port = 0): Promise<Served> {
  return serve(path, ["--port", String(port)], homeOf(path));
}

function homeOf(path: string): Record<string, string> {
  return { HOME: path, XDG_CONFIG_HOME: "", XDG_DATA_HOME: "" };
}

function running(argv: readonly string[], options: { cwd: string; env: Record<string, string> }): Running {
  const child = Bun.spawn([...AGENTBUS, ...argv], {
    cwd: options.cwd,
    env: plainEnvironment(options.env),
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  let text = "";
  const errors = new Response(child.stderr).text();
  const read = (async () => {
    const decoder = new TextDecoder();
    for await (const chunk of child.stdout) text += decoder.decode(chunk, { stream: true });
  })();
  const lines = (): string[] => text.split("\n").slice(0, -1);
  return {
    get lines() {
      return lines();
    },
    async line(index) {
      const deadline = performance.now() + LINE_MS;
      for (;;) {
        const found = lines()[index];
        if (found !== undefined) return found;
        if (child.exitCode !== null) throw new Error(`it ended with ${child.exitCode}: ${await errors}`);
        if (performance.now() > deadline)
          throw new Error(`no line ${index} within ${LINE_MS / 1_000} s: ${text}`);
        await Bun.sleep(10);
      }
    },
    async ended() {
      const [code, err] = await Promise.all([child.exited, errors, read]);
      return { code, out: text, err };
    },
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await child.exited;
    },
  };
}
