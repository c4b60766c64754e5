import { shownAddress } from "../config/print.ts";
import { toolServersOf } from "../tool-servers.ts";
import type { Config } from "./configuration.ts";
import type { Finding } from "./doctor.ts";
import { readRunning } from "./running.ts";
import { connectTo, localTarget } from "./target.ts";

const CHECK = "tool server";

/** How each tool server is, by the gateway that runs; without one, whether its command is there. */
export async function checkToolServers(config: Config, cwd: string): Promise<Finding[]> {
  if (readRunning(config.server.data_dir) === null) return checkCommands(config, cwd);
  try {
    const client = await connectTo(localTarget(config));
    try {
      const { servers } = await client.request("tool.list", {});
      return servers.map(judge);
    } finally {
      client.disconnect();
    }
  } catch {
    // That the gateway does not answer is a finding already.
    return [];
  }
}

interface Served {
  readonly name: string;
  readonly state: "connecting" | "ready" | "failed" | "stopped";
  readonly tools: number;
  readonly reason?: string | undefined;
}

function judge({ name, state, tools, reason }: Served): Finding {
  if (state === "ready" && reason === undefined) {
    return { check: CHECK, state: "ok", finding: `${name}: ready, with ${tools} tools` };
  }
  const finding = `${name}: ${state}${reason === undefined ? "" : `: ${reason}`}`;
  if (state === "ready" || state === "connecting") {
    return { check: CHECK, state: "warning", finding, advice: "the log says more" };
  }
  const advice = `check mcp.servers.${name} (or .mcp.json), and what the server says in the log; it is tried again by itself`;
  return { check: CHECK, state: "failed", finding, advice };
}

function checkCommands(config: Config, cwd: string): Finding[] {
  const { settings, warnings } = toolServersOf(config, cwd);
  const unread = warnings.map((finding): Finding => {
    return {
      check: CHECK,
      state: "warning",
      finding,
      advice: "mend the file, or set tools.mcp_json = false",
    };
  });
  const found = settings.map(({ name, command, url }): Finding => {
    if (command === "")
      return {
        check: CHECK,
        state: "ok",
        finding: `${name}: at ${shownAddress(url)}; asked by a gateway that runs`,
      };
    if (Bun.which(command) !== null) {
      return {
        check: CHECK,
        state: "ok",
        finding: `${name}: ${command} is there; started by a gateway that runs`,
      };
    }
    const advice = `install it, or give its whole path in mcp.servers.${name}.command`;
    return { check: CHECK, state: "failed", finding: `${name}: there is no command ${command}`, advice };
  });
  return [...unread, ...found];
}
