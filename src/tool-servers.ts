import type { Config } from "./config.ts";
import type { Clock, Logger, ToolSource } from "./core/ports.ts";
import { readMcpJson } from "./mcp-json.ts";
import type { McpServerSettings } from "./tool/mcp.ts";
import { createMcpServers } from "./tool/mcp.ts";

export interface ToolServers extends ToolSource {
  /** Those of the configuration from here on. Returns at once: a server's tools appear when it is there. */
  start(): void;
  /** After the last run. Resolves when no process that was started is left. */
  stop(): Promise<void>;
}

/** The tool servers of the configuration and, where that allows it, of `.mcp.json` in the working directory. */
export function createToolServers(config: Config, version: string, clock: Clock, log: Logger): ToolServers {
  const cwd = process.cwd();
  const servers = createMcpServers({ version, env: process.env, cwd, clock, log });
  return {
    ...servers,
    start() {
      const { settings, warnings } = toolServersOf(config, cwd);
      for (const warning of warnings) log.warn({}, warning);
      servers.start(settings);
    },
  };
}

/** What is to be started and reached, and what is wrong with the rest, one line each. */
export function toolServersOf(
  config: Config,
  cwd: string,
): { readonly settings: readonly McpServerSettings[]; readonly warnings: readonly string[] } {
  const settings = Object.entries(config.mcp.servers).map(([name, each]) => ({ name, ...each }));
  if (!config.tools.mcp_json) return { settings, warnings: [] };
  const { servers, warnings } = readMcpJson(cwd, process.env, new Set(settings.map(({ name }) => name)));
  return { settings: [...settings, ...servers], warnings };
}
