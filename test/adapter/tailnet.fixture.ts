import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadConfig } from "../../src/config.ts";
import type { ManualClock } from "../support/clock.ts";
import { manualClock } from "../support/clock.ts";
import type { ConfigTable } from "../support/gateway-process.ts";
import { toToml } from "../support/gateway-process.ts";
import type { Clock } from "../../src/core/ports.ts";
import { composeGateway } from "../../src/gateway.ts";
import { createMemoryStore } from "../../src/store/memory.ts";
import { systemClock } from "../../src/clock.ts";
import type { Answer, AskOptions } from "../gateway/stack.ts";
import { ask } from "../gateway/stack.ts";
import type { Machine, TestTailscaled } from "../support/tailscaled.ts";
import { startTailscaled } from "../support/tailscaled.ts";
import type { LogLine } from "./auth.fixture.ts";
import { memoryLog } from "./auth.fixture.ts";

export const ADA: Machine = { login: "ada@example.com" };
export const BOB: Machine = { login: "bob@example.com" };

/** A whole gateway whose clients, on 127.0.0.1, count as machines of a tailnet, and the tailscaled that knows them. */
export interface TailnetGateway extends AsyncDisposable {
  readonly url: string;
  readonly ws_url: string;
  readonly token: string;
  readonly tailscaled: TestTailscaled;
  readonly lines: LogLine[];
  /** Whoever 127.0.0.1 is from here on; null: nobody. What is remembered of open connections stays. */
  become(machine: Machine | null): void;
  /** Nothing is shown unless the headers do. */
  ask(verb: string, path: string, options?: AskOptions): Promise<Answer>;
}

export interface TailnetSetup {
  readonly auth?: ConfigTable;
  readonly server?: ConfigTable;
  readonly clock?: Clock;
  readonly machine?: Machine;
}

const HERE = "127.0.0.1";
/** How long tailscaled has to answer. */
const DEADLINE_MS = 2_000;

/** A clock that is moved by hand, but for the time tailscaled has: its socket is a real one. */
export function tailnetClock(): ManualClock {
  const clock = manualClock();
  const after: Clock["after"] = (ms, task) =>
    ms === DEADLINE_MS ? systemClock.after(ms, task) : clock.after(ms, task);
  return Object.create(clock, { after: { value: after } }) as ManualClock;
}

export async function startTailnetGateway(setup: TailnetSetup = {}): Promise<TailnetGateway> {
  const { clock = systemClock, machine = ADA } = setup;
  const home = await mkdtemp(join(tmpdir(), "agentbus-tn-"));
  const tailscaled = await startTailscaled({ [HERE]: machine });
  const users = {
    '"ada@example.com"': { user: "ada", role: "admin" },
    '"bob@example.com"': { user: "bob", role: "viewer" },
  };
  const auth = { mode: "tailscale", ...setup.auth, tailscale: { socket: tailscaled.socket, users } };
  const toml = toToml({ server: { port: 0, data_dir: join(home, "data"), ...setup.server }, auth });
  const file = join(home, "agentbus.toml");
  await Bun.write(file, toml);
  const { config } = loadConfig({ file, env: { HOME: home }, cwd: home });
  const lines: LogLine[] = [];
  const store = createMemoryStore({ clock, limits: config.limits });
  const overrides = { store, clock, isLocal: () => false };
  const gateway = composeGateway({
    config,
    log: memoryLog(lines),
    version: "0.0.0",
    overrides,
    onFatal: (error) => void lines.push({ level: "error", fields: { error }, message: "fatal" }),
  });
  const { url, token } = await gateway.start();
  return {
    url,
    ws_url: `${url.replace(/^http/, "ws")}/ws`,
    token: token?.value ?? "",
    tailscaled,
    lines,
    become(next) {
      if (next === null) tailscaled.machines.delete(HERE);
      else tailscaled.machines.set(HERE, next);
    },
    ask: (verb, path, options = {}) => ask(`${url}${path}`, verb, options),
    async [Symbol.asyncDispose]() {
      const stopped = gateway.stop({ grace_ms: 0 });
      // A clock that stands still has to be told to go on.
      const tick =
        "advance" in clock
          ? setInterval(() => (clock as { advance(ms: number): void }).advance(1_000), 5)
          : null;
      await stopped;
      if (tick !== null) clearInterval(tick);
      await tailscaled[Symbol.asyncDispose]();
      await rm(home, { recursive: true, force: true });
    },
  };
}
