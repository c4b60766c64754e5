import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CommandError } from "./exit.ts";
import { pause } from "./pause.ts";
import { selfCommand } from "./self.ts";
import { readRunning } from "./running.ts";

/** A gateway of this very executable in a directory that goes with it. */
export interface DemoGateway {
  readonly url: string;
  readonly token: string;
  /** Asks it to stop, as a service manager does; resolves with its exit code. */
  stop(): Promise<number>;
  /** Ends it at once and removes its directory. Idempotent. */
  remove(): Promise<void>;
}

const START_MS = 15_000;
const STOP_MS = 15_000;

const CONFIG = `[server]
host = "127.0.0.1"
port = 0
data_dir = "."
shutdown_grace_secs = 2
[llm]
default_provider = "demo"
`;

/** @throws CommandError with the last of its log, where it does not come up */
export async function startDemoGateway(): Promise<DemoGateway> {
  const directory = mkdtempSync(join(tmpdir(), "agentbus-demo-"));
  const log = join(directory, "log");
  const config = join(directory, "agentbus.toml");
  writeFileSync(
    config,
    CONFIG.replace('data_dir = "."', `data_dir = ${JSON.stringify(join(directory, "data"))}`),
  );
  const child = Bun.spawn([...selfCommand(), "serve", "--config", config], {
    cwd: directory,
    env: plainEnvironment(),
    stdin: "ignore",
    stdout: Bun.file(log),
    stderr: Bun.file(`${log}.err`),
  });
  async function remove(): Promise<void> {
    child.kill("SIGKILL");
    await child.exited;
    rmSync(directory, { recursive: true, force: true });
  }
  try {
    const url = await listening(join(directory, "data"), () => child.exitCode ?? child.signalCode);
    const token = readFileSync(join(directory, "data", "token"), "utf8").trim();
    return { url, token, stop: () => stopped(child), remove };
  } catch (error) {
    const said = [log, `${log}.err`].map(tailOf).join("");
    await remove();
    throw new CommandError(`the gateway did not start (${(error as Error).message})\n${said}`.trimEnd());
  }
}

async function listening(data_dir: string, ended: () => number | string | null): Promise<string> {
  const deadline = performance.now() + START_MS;
  for (;;) {
    const running = readRunning(data_dir);
    if (running !== null) return running.url;
    if (ended() !== null) throw new Error(`it ended with ${ended()}`);
    if (performance.now() > deadline) throw new Error(`it was not there after ${START_MS / 1_000} s`);
    await pause(10);
  }
}

async function stopped(child: Bun.Subprocess): Promise<number> {
  child.kill("SIGTERM");
  const killer = setTimeout(() => child.kill("SIGKILL"), STOP_MS);
  const code = await child.exited;
  clearTimeout(killer);
  return code;
}

/** The environment without what configures a gateway: the demo is the same everywhere. */
function plainEnvironment(): Record<string, string | undefined> {
  const kept = Object.entries(process.env).filter(
    ([name]) => !name.startsWith("AGENTBUS_") && !name.endsWith("_API_KEY"),
  );
  return Object.fromEntries(kept);
}

function tailOf(path: string): string {
  return readFileSync(path, "utf8").split("\n").slice(-10).join("\n");
}
