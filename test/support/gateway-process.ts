import type { Subprocess } from "bun";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { TRANSPILED } from "./executable.ts";
import type { TestDatabase } from "./postgres.ts";
import { testDatabase } from "./postgres.ts";

/** Sections of the configuration file; a section in a section is a table of its own. */
export interface ConfigTable {
  readonly [key: string]: string | number | boolean | readonly (string | number)[] | ConfigTable;
}

export interface GatewayProcessOptions {
  /** The text of agentbus.toml, or what becomes it. */
  readonly config?: string | ConfigTable;
  readonly env?: Readonly<Record<string, string>>;
  /** Kept at the end; without one it is a temporary directory of its own. */
  readonly data_dir?: string;
  /** The executable; default AGENTBUS_BINARY, else the sources with the Bun that runs the test. */
  readonly binary?: string;
  /** Is told every line it says, also those that `log` has no room for. */
  readonly heard?: (line: LogLine) => void;
}

export interface LogLine {
  readonly [field: string]: unknown;
  readonly msg: string;
}

/** A gateway in a process of its own, on a port of its own. */
export interface RunningGateway extends AsyncDisposable {
  /** Where it is now, e.g. http://127.0.0.1:41234; another one after restart(). */
  readonly url: string;
  readonly ws_url: string;
  /** host:port */
  readonly address: string;
  /** The administrator's token. */
  readonly token: string;
  readonly data_dir: string;
  /** Its agentbus.toml. */
  readonly config_file: string;
  readonly pid: number;
  /** What it said since the last start, oldest first, the last 2,000 lines. */
  readonly log: readonly LogLine[];
  /** From the start of the process to the line that says it listens. */
  readonly startup_ms: number;
  /** The exit code of the process that runs now; a signal counts 128 + its number. */
  readonly exited: Promise<number>;
  /** SIGTERM unless another is given; works while it starts, too. */
  kill(signal?: NodeJS.Signals): void;
  /**
   * Waits for the end of the process, which somebody has brought about, and starts the next on the same directory.
   * Rejects when that one ends before it listens.
   */
  restart(): Promise<void>;
  /**
   * Starts the next on the same directory while this one runs, to take its place. Resolves when that one listens, with the exit
   * code of the first and how long nobody listened, ms at most; needs a port of its own in `env`.
   */
  takeover(): Promise<{ readonly exit_code: number; readonly gap_ms: number }>;
}

const LISTEN_MS = 60_000;
const STOP_MS = 10_000;
const LOG_LINES = 2_000;
const SOURCES = resolve(import.meta.dir, "../../src/main.ts");

const databases = new Map<string, TestDatabase>();

/** With AGENTBUS_TEST_STORE=postgres: where a gateway of this data directory keeps everything. */
async function databaseFor(data_dir: string): Promise<TestDatabase | null> {
  if (Bun.env["AGENTBUS_TEST_STORE"] !== "postgres") return null;
  const database = databases.get(data_dir) ?? (await testDatabase());
  databases.set(data_dir, database);
  return database;
}

/** Resolves when it listens. Rejects with what it said, when it ends before. */
export async function startGateway(options: GatewayProcessOptions = {}): Promise<RunningGateway> {
  const home = await mkdtemp(join(tmpdir(), "agentbus-test-"));
  const data_dir = options.data_dir ?? join(home, "data");
  const file = join(home, "agentbus.toml");
  const { config = {} } = options;
  await writeFile(file, typeof config === "string" ? config : toToml(config));
  const binary = options.binary ?? Bun.env["AGENTBUS_BINARY"] ?? "";
  const command = binary === "" ? [process.execPath, SOURCES] : [resolve(binary)];
  const database = await databaseFor(data_dir);
  const env = {
    ...(database !== null && { AGENTBUS_STORAGE_URL: database.url, AGENTBUS_STORAGE_CONNECTIONS: "5" }),
    ...TRANSPILED,
    PATH: Bun.env["PATH"] ?? "",
    HOME: home,
    AGENTBUS_SERVER_PORT: "0",
    AGENTBUS_SERVER_DATA_DIR: data_dir,
    ...options.env,
  };
  const { heard = () => undefined } = options;
  const launch = (...more: string[]): Launched =>
    new Launched([...command, "serve", "--config", file, ...more], { cwd: home, env }, heard);
  let current = launch();
  try {
    await current.listens();
  } catch (error) {
    await rm(home, { recursive: true, force: true });
    throw error;
  }
  const token = (await readFile(join(data_dir, "token"), "utf8")).trim();

  async function stop(): Promise<void> {
    const { child } = current;
    child.kill("SIGTERM");
    const timer = setTimeout(() => child.kill("SIGKILL"), STOP_MS);
    await child.exited;
    clearTimeout(timer);
    if (options.data_dir === undefined) await database?.[Symbol.asyncDispose]();
    await rm(home, { recursive: true, force: true });
  }
  return {
    get url() {
      return current.url;
    },
    get ws_url() {
      return `${current.url.replace(/^http/, "ws")}/ws`;
    },
    get address() {
      return new URL(current.url).host;
    },
    token,
    data_dir,
    config_file: file,
    get pid() {
      return current.child.pid;
    },
    get log() {
      return current.log;
    },
    get startup_ms() {
      return current.startup_ms;
    },
    get exited() {
      return current.child.exited;
    },
    kill: (signal = "SIGTERM") => current.child.kill(signal),
    async restart() {
      await current.child.exited;
      current = launch();
      await current.listens();
    },
    async takeover() {
      const { child } = current;
      const ended = child.exited.then((exit_code) => ({ exit_code, at: performance.now() }));
      current = launch("--takeover");
      await current.listens();
      const { exit_code, at } = await ended;
      return { exit_code, gap_ms: performance.now() - at };
    },
    [Symbol.asyncDispose]: stop,
  };
}

/** One process, from its first moment. */
class Launched {
  readonly child: Subprocess<"ignore", "pipe", "pipe">;
  readonly log: LogLine[] = [];
  /** Set once it listens. */
  url = "";
  startup_ms = Number.NaN;
  readonly #listening = Promise.withResolvers<void>();

  constructor(
    command: string[],
    place: { readonly cwd: string; readonly env: Record<string, string> },
    heard: (line: LogLine) => void,
  ) {
    const began = performance.now();
    this.child = Bun.spawn(command, { ...place, stdin: "ignore", stdout: "pipe", stderr: "pipe" });
    const read = (line: LogLine): void => {
      this.log.push(line);
      if (this.log.length > LOG_LINES) this.log.shift();
      heard(line);
      if (line.msg !== "listening") return;
      this.url = String(line["url"]);
      this.startup_ms = performance.now() - began;
      this.#listening.resolve();
    };
    const output = Promise.all([readLines(this.child.stdout, read), readLines(this.child.stderr, read)]);
    void this.child.exited.then(async (code) => {
      await output;
      this.#listening.reject(
        new Error(`the gateway ended with ${code} before it listened\n${tell(this.log)}`),
      );
    });
    // Told by listens(); one that is killed on its way has nobody who asks.
    this.#listening.promise.catch(() => undefined);
  }

  async listens(): Promise<void> {
    const timer = setTimeout(() => {
      this.child.kill("SIGKILL");
      const message = `the gateway did not listen within ${LISTEN_MS} ms`;
      this.#listening.reject(new Error(`${message}\n${tell(this.log)}`));
    }, LISTEN_MS);
    await this.#listening.promise.finally(() => clearTimeout(timer));
  }
}

/** Gives every line to `each`; what is not JSON is the `msg` of a line. */
async function readLines(stream: ReadableStream<Uint8Array>, each: (line: LogLine) => void): Promise<void> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const bytes of stream) {
    const lines = (rest + decoder.decode(bytes, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) if (line.trim() !== "") each(toLogLine(line));
  }
  if (rest.trim() !== "") each(toLogLine(rest));
}

function toLogLine(text: string): LogLine {
  try {
    const value = JSON.parse(text) as unknown;
    if (typeof value === "object" && value !== null && "msg" in value) return value as LogLine;
  } catch {
    // Not JSON: said by something that is not the logger, such as the runtime on its way out.
  }
  return { msg: text };
}

function tell(log: readonly LogLine[]): string {
  return log
    .slice(-20)
    .map((line) => (Object.keys(line).length === 1 ? line.msg : JSON.stringify(line)))
    .join("\n");
}

/** TOML of nested tables; text, numbers and lists are written as in JSON. */
export function toToml(table: ConfigTable, path = ""): string {
  let own = "";
  let nested = "";
  for (const [name, value] of Object.entries(table)) {
    const key = /^(?:[A-Za-z0-9_-]+|".*")$/.test(name) ? name : JSON.stringify(name);
    const inner = path === "" ? key : `${path}.${key}`;
    if (typeof value === "object" && !Array.isArray(value)) nested += toToml(value as ConfigTable, inner);
    else own += `${key} = ${JSON.stringify(value)}\n`;
  }
  return `${path === "" || own === "" ? "" : `[${path}]\n`}${own}${nested}`;
}
