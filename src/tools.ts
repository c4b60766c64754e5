import { addressMatcher } from "./auth/address.ts";
import type { Config } from "./config.ts";
import { configured } from "./config/error.ts";
import type { Clock, Logger, Tool, Toolbox, ToolSource } from "./core/ports.ts";
import type { LiveConfig } from "./settings.ts";
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

/** What runs may call. `sources`: tools that are not built in. @throws ConfigError */
export function createTools(
  { live, config }: LiveConfig,
  clock: Clock,
  log: Logger,
  sources: readonly ToolSource[],
): Toolbox {
  const builtin = live.derive((next) => builtinTools(next, clock));
  const policy = live.derive(({ tools }) => configured(() => createPolicy(tools.policy)));
  return createToolbox({
    sources: [{ tools: () => builtin.now }, ...sources],
    policy: (name) => policy.now(name),
    get timeout_ms() {
      return config.tools.timeout_secs * 1_000;
    },
    limits: config.limits,
    clock,
    log,
  });
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
