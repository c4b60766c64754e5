import { afterEach } from "bun:test";
import { join } from "node:path";
import { systemClock } from "../../src/clock.ts";
import type { Logger, Tool, ToolServerState } from "../../src/core/ports.ts";
import type { McpServerSettings, McpServers } from "../../src/tool/mcp.ts";
import { createMcpServers } from "../../src/tool/mcp.ts";

const support = (file: string): string => join(import.meta.dir, "../support", file);
export const SERVER = support("mcp-server.ts");
export const HOSTILE = support("mcp-hostile.ts");

export interface Line {
  readonly msg: string;
  readonly [field: string]: unknown;
}

/** A log that is kept. */
function keptLog(lines: Line[], fixed: Record<string, unknown> = {}): Logger {
  const say = (fields: Record<string, unknown>, msg: string): void => {
    lines.push({ ...fixed, ...fields, msg });
  };
  return {
    debug: say,
    info: say,
    warn: say,
    error: say,
    child: (fields) => keptLog(lines, { ...fixed, ...fields }),
  };
}

export interface Scene {
  readonly servers: McpServers;
  readonly log: Line[];
  state(name: string): ToolServerState | undefined;
  ready(name: string): Promise<void>;
  tool(name: string): Tool;
  call(name: string, args?: Record<string, unknown>, signal?: AbortSignal): Promise<string>;
}

const scenes: McpServers[] = [];
/** Call it once in a file that opens scenes. */
export function closesServers(): void {
  afterEach(async () => {
    await Promise.all(scenes.splice(0).map((servers) => servers.stop()));
  });
}

export const SECRET = "sk-of-the-gateway-itself";

/** Tool servers as a gateway has them, started. */
export function open(...settings: McpServerSettings[]): Scene {
  const log: Line[] = [];
  const env = { ...process.env, OPENAI_API_KEY: SECRET, AGENTBUS_AUTH_TOKEN: SECRET, BUN_OPTIONS: "" };
  const servers = createMcpServers({
    version: "0.0.0",
    env,
    cwd: import.meta.dir,
    clock: systemClock,
    log: keptLog(log),
  });
  scenes.push(servers);
  servers.start(settings);
  const state: Scene["state"] = (name) => servers.states?.().find((each) => each.name === name);
  const tool: Scene["tool"] = (name) => {
    const found = servers.tools().find((each) => each.name === name);
    if (found === undefined) throw new Error(`there is no ${name}: ${JSON.stringify(servers.states?.())}`);
    return found;
  };
  return {
    servers,
    log,
    state,
    tool,
    ready: (name) => until(() => state(name)?.state === "ready"),
    call: (name, args = {}, signal = new AbortController().signal) =>
      tool(name).run(args, { signal, session_id: "s", run_id: "r" }),
  };
}

export function stdio(name: string, script: string, ...args: string[]): McpServerSettings {
  return { name, command: process.execPath, args: [script, ...args], env: {}, url: "", headers: {} };
}

/** Waits for what is bound to come, however slow the machine is. */
export async function until(holds: () => boolean | Promise<boolean>, what = "it"): Promise<void> {
  const give_up = Date.now() + 25_000;
  while (!(await holds())) {
    if (Date.now() > give_up) throw new Error(`${what} did not happen`);
    await Bun.sleep(5);
  }
}

/** Whether a process is there, and is no zombie. */
export async function isAlive(pid: number): Promise<boolean> {
  const stat = Bun.file(`/proc/${pid}/stat`);
  return (await stat.exists()) && !/\) Z /.test(await stat.text());
}
