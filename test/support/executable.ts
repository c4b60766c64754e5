import { Terminal } from "@xterm/headless";
import type { Subprocess } from "bun";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";

const ROOT = resolve(import.meta.dir, "../..");
const BINARY = process.env["AGENTBUS_BINARY"];

/** The words that start agentbus: the compiled executable of AGENTBUS_BINARY, else the source. */
export const AGENTBUS: readonly string[] = BINARY
  ? [resolve(ROOT, BINARY)]
  : [process.execPath, join(ROOT, "src/main.ts")];

/**
 * For what runs from the sources: what Bun made of a file is there for the next process, too, whatever its home is. It takes two
 * fifths off each start.
 */
export const TRANSPILED: Readonly<Record<string, string>> = BINARY
  ? {}
  : { BUN_RUNTIME_TRANSPILER_CACHE_PATH: join(ROOT, "dist/transpiled") };

export interface Outcome {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

export interface RunOptions {
  readonly cwd: string;
  readonly env?: Record<string, string>;
  /** Piped in; without it there is nothing to read. */
  readonly stdin?: string;
}

/** A directory of its own for a test, removed with it. */
export function workplace(): Disposable & {
  readonly path: string;
  file(name: string, text: string): string;
} {
  const path = mkdtempSync(join(tmpdir(), "agentbus-test-"));
  return {
    path,
    file(name, text) {
      mkdirSync(dirname(join(path, name)), { recursive: true });
      writeFileSync(join(path, name), text);
      return join(path, name);
    },
    [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }),
  };
}

/** The environment without anything that configures agentbus. */
export function plainEnvironment(more: Record<string, string> = {}): Record<string, string> {
  const plain: Record<string, string> = {};
  for (const [name, value] of Object.entries(process.env)) {
    const configures = name.startsWith("AGENTBUS_") || name.endsWith("_API_KEY") || name.startsWith("BUN_");
    if (value !== undefined && !configures) plain[name] = value;
  }
  return { ...plain, ...TRANSPILED, ...more };
}

/** Runs a command to its end. */
export async function agentbus(argv: readonly string[], options: RunOptions): Promise<Outcome> {
  const child = Bun.spawn([...AGENTBUS, ...argv], {
    cwd: options.cwd,
    env: plainEnvironment(options.env),
    stdin: options.stdin === undefined ? "ignore" : new Blob([options.stdin]),
    stdout: "pipe",
    stderr: "pipe",
  });
  const [out, err, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  return { code, out, err };
}

export interface Served extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  readonly pid: number;
  /** Lines of stdout so far. */
  readonly lines: readonly string[];
  signal(signal: "SIGTERM" | "SIGINT" | "SIGKILL"): void;
  /** Resolves with the exit code. */
  readonly exited: Promise<number>;
}

/** A gateway that listens; ended with the test. `argv` comes after `serve`. */
export async function serve(
  cwd: string,
  argv: readonly string[],
  env: Record<string, string> = {},
): Promise<Served> {
  const child = Bun.spawn([...AGENTBUS, "serve", ...argv], {
    cwd,
    env: plainEnvironment(env),
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const errors = new Response(child.stderr).text();
  const lines: string[] = [];
  const heard = Promise.withResolvers<string>();
  void listen(child, lines, (line) => {
    if (line.includes('"msg":"listening"')) heard.resolve((JSON.parse(line) as { url: string }).url);
  });
  void child.exited.then(async (code) =>
    heard.reject(new Error(`serve ended with ${code}: ${await errors}`)),
  );
  const url = await heard.promise;
  return {
    url,
    port: Number(new URL(url).port),
    pid: child.pid,
    lines,
    exited: child.exited,
    signal: (signal) => child.kill(signal),
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await child.exited;
    },
  };
}

async function listen(
  child: Subprocess<"ignore", "pipe", "pipe">,
  lines: string[],
  heard: (line: string) => void,
): Promise<void> {
  let rest = "";
  const decoder = new TextDecoder();
  for await (const chunk of child.stdout) {
    const parts = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = parts.pop() ?? "";
    for (const line of parts) {
      lines.push(line);
      heard(line);
    }
  }
}

export interface Typed extends AsyncDisposable {
  /** What the terminal showed so far, without colours. */
  readonly shown: string;
  /** What stands on the screen now, and above it: the lines of a real terminal, without spaces at their ends. */
  screen(): Promise<string[]>;
  type(text: string): void;
  /** Waits until what stands on the screen holds; the lines joined by \n. */
  untilScreen(what: string, holds: (screen: string) => boolean): Promise<void>;
  until(what: string, holds: (shown: string) => boolean): Promise<void>;
  readonly exited: Promise<number>;
  readonly pid: number;
  /** The terminal goes, as when its window is closed. */
  hangUp(): void;
}

interface TerminalOptions extends RunOptions {
  readonly columns?: number;
  readonly rows?: number;
}

/** A command in a terminal of its own. */
export function inTerminal(argv: readonly string[], options: TerminalOptions): Typed {
  const { columns: cols = 200, rows = 24 } = options;
  const screen = new Terminal({ cols, rows, scrollback: 10_000, allowProposedApi: true });
  let shown = "";
  const decoder = new TextDecoder();
  const child = Bun.spawn([...AGENTBUS, ...argv], {
    cwd: options.cwd,
    env: plainEnvironment({ NO_COLOR: "1", ...options.env }),
    terminal: {
      cols,
      rows,
      data: (_terminal, data) => {
        shown += decoder.decode(data, { stream: true });
        screen.write(data);
      },
    },
  });
  const lines = async (): Promise<string[]> => {
    await new Promise<void>((resolve) => screen.write("", resolve));
    const { active } = screen.buffer;
    const all = Array.from({ length: active.length }, (_, row) =>
      (active.getLine(row)?.translateToString(true) ?? "").trimEnd(),
    );
    return all.slice(0, all.findLastIndex((line) => line !== "") + 1);
  };
  const plain = (): string => Bun.stripANSI(shown).replaceAll("\r", "");
  return {
    get shown() {
      return plain();
    },
    screen: lines,
    async untilScreen(what, holds) {
      const deadline = performance.now() + 15_000;
      for (let text = (await lines()).join("\n"); !holds(text); text = (await lines()).join("\n")) {
        if (performance.now() > deadline) throw new Error(`the screen did not show ${what}:\n${text}`);
        await Bun.sleep(20);
      }
    },
    type: (text) => void child.terminal?.write(text),
    async until(what, holds) {
      const deadline = performance.now() + 15_000;
      while (!holds(plain())) {
        if (performance.now() > deadline) throw new Error(`the terminal did not show ${what}:\n${plain()}`);
        await Bun.sleep(5);
      }
    },
    exited: child.exited,
    pid: child.pid,
    hangUp: () => void child.terminal?.close(),
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await child.exited;
      child.terminal?.close();
      screen.dispose();
    },
  };
}
