import { addressMatcher } from "./auth/address.ts";
import type { Config } from "./config.ts";
import { configured } from "./config/error.ts";
import type { Clock, Logger, Tool, ToolSource } from "./core/ports.ts";
import type { EngineOptions } from "./engine.ts";
import { SKILL_TOOLS } from "./skill/tools.ts";
import { createReach } from "./tool/fetch-reach.ts";
import { resolveHost } from "./tool/fetch-request.ts";
import { httpFetchTool } from "./tool/http-fetch.ts";
import { listFilesTool } from "./tool/list-files.ts";
import { createPolicy } from "./tool/policy.ts";
import { readFileTool } from "./tool/read-file.ts";
import { createToolbox } from "./tool/registry.ts";
import { timeTool } from "./tool/time.ts";
import type { Workspace } from "./tool/workspace.ts";
import { createWorkspace } from "./tool/workspace.ts";

type ToolOptions = Pick<
  EngineOptions,
  "toolbox" | "budget" | "context_tokens" | "approval_timeout_ms" | "unattended"
>;

/** What runs may call, and within which bounds. `sources`: tools that are not built in. @throws ConfigError */
export function toolsOf(
  config: Config,
  clock: Clock,
  log: Logger,
  sources: readonly ToolSource[],
): ToolOptions {
  const { tools, agent, limits } = config;
  const builtin = builtinTools(config, clock);
  return {
    toolbox: createToolbox({
      sources: [{ tools: () => builtin }, ...sources],
      policy: configured(() => createPolicy(tools.policy)),
      timeout_ms: tools.timeout_secs * 1_000,
      limits,
      clock,
      log,
    }),
    budget: {
      max_turns: agent.max_turns,
      max_tool_calls: agent.max_tool_calls,
      max_tokens: agent.max_tokens,
    },
    context_tokens: agent.context_tokens,
    approval_timeout_ms: tools.approval_timeout_secs * 1_000,
    unattended: tools.unattended,
  };
}

function builtinTools({ tools, limits, server }: Config, clock: Clock): Tool[] {
  const secrets = [server.data_dir, server.tls.key].filter((path) => path !== "");
  const workspace = (name: string): Workspace => {
    if (tools.workspace !== "") return createWorkspace(tools.workspace, secrets);
    throw new Error(
      `tools.workspace is not set, and ${name} of tools.builtin needs it: set it to the directory whose files may be read`,
    );
  };
  const known = new Map<string, (name: string) => Tool>([
    ["time", () => timeTool(clock)],
    [
      "http_fetch",
      () =>
        httpFetchTool({
          reach: createReach(tools.http_allow, addressMatcher),
          resolve: resolveHost,
          limits: { ...limits, fetch_ms: Math.min(limits.fetch_ms, tools.timeout_secs * 1_000) },
        }),
    ],
    ["read_file", (name) => readFileTool(workspace(name), limits)],
    ["list_files", (name) => listFilesTool(workspace(name), limits)],
  ]);
  return configured(() =>
    tools.builtin.flatMap((name) => {
      const make = known.get(name);
      if (make !== undefined) return make(name);
      // Their source is the skills.
      if (SKILL_TOOLS.includes(name)) return [];
      const all = [...SKILL_TOOLS, ...known.keys()].join(", ");
      throw new Error(`tools.builtin: there is no built-in tool "${name}"; there are ${all}`);
    }),
  );
}
