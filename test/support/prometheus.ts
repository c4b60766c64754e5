import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

/** The files that are meant to be taken as they are. */
export const PLACE = resolve(import.meta.dir, "../../deploy/prometheus");

export interface RunningPrometheus extends AsyncDisposable {
  /** What an expression says now; every sample is a series and its value. */
  query(expression: string): Promise<readonly Sample[]>;
  /** An answer of its API below /api/v1. */
  // oxlint-disable-next-line typescript/no-explicit-any -- a test looks wherever it likes
  api(path: string): Promise<any>;
}

export interface Sample {
  readonly metric: Readonly<Record<string, string>>;
  /** When, and how much, as text. */
  readonly value: readonly [number, string];
}

const READY_MS = 20_000;

/** Prometheus with the configuration that comes along, looking at `address` once a second. */
export async function startPrometheus(address: string, token: string): Promise<RunningPrometheus> {
  const home = mkdtempSync(join(tmpdir(), "agentbus-prometheus-"));
  cpSync(PLACE, home, { recursive: true });
  const file = join(home, "prometheus.yml");
  const config = readFileSync(file, "utf8")
    .replaceAll("interval: 15s", "interval: 1s")
    .replace("127.0.0.1:18789", address);
  writeFileSync(file, config);
  writeFileSync(join(home, "agentbus.token"), token, { mode: 0o600 });
  const port = freePort();
  const child = Bun.spawn(
    [
      "prometheus",
      `--config.file=${file}`,
      `--storage.tsdb.path=${join(home, "data")}`,
      `--web.listen-address=127.0.0.1:${port}`,
      "--log.level=warn",
    ],
    { cwd: home, stdin: "ignore", stdout: "ignore", stderr: "pipe" },
  );
  const said = new Response(child.stderr).text();
  const url = `http://127.0.0.1:${port}`;
  const stop = async (): Promise<void> => {
    child.kill("SIGKILL");
    await child.exited;
    rmSync(home, { recursive: true, force: true });
  };
  const end = Date.now() + READY_MS;
  while (!(await isReady(url))) {
    if (child.exitCode === null && Date.now() < end) {
      await Bun.sleep(50);
      continue;
    }
    await stop();
    throw new Error(`prometheus is not ready: ${await said}`);
  }
  const api = async (path: string): Promise<unknown> => {
    const answer = (await (await fetch(`${url}/api/v1/${path}`)).json()) as { status: string; data: unknown };
    if (answer.status !== "success") throw new Error(JSON.stringify(answer));
    return answer.data;
  };
  return {
    api,
    query: async (expression) => {
      const data = await api(`query?${new URLSearchParams({ query: expression })}`);
      return (data as { readonly result: readonly Sample[] }).result;
    },
    [Symbol.asyncDispose]: stop,
  };
}

async function isReady(url: string): Promise<boolean> {
  const answer = await fetch(`${url}/-/ready`).catch(() => null);
  return answer?.status === 200;
}

/** It takes none of its own choice. */
function freePort(): number {
  using server = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data: () => undefined } });
  return server.port;
}
