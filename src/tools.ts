import type { Config } from "./config.ts";
import { configured } from "./config/error.ts";
import type { Clock, Logger, Tool, ToolSource } from "./core/ports.ts";
import type { EngineOptions } from "./engine.ts";
import { SKILL_TOOLS } from "./skill/tools.ts";
import { createPolicy } from "./tool/policy.ts";
import { createToolbox } from "./tool/registry.ts";
import { timeTool } from "./tool/time.ts";

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
  const builtin = builtinTools(tools.builtin, clock);
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

function builtinTools(names: readonly string[], clock: Clock): Tool[] {
  const known = new Map([["time", () => timeTool(clock)]]);
  return configured(() =>
    names.flatMap((name) => {
      const make = known.get(name);
      if (make !== undefined) return make();
      // Their source is the skills.
      if (SKILL_TOOLS.includes(name)) return [];
      const all = [...SKILL_TOOLS, ...known.keys()].join(", ");
      throw new Error(`tools.builtin: there is no built-in tool "${name}"; there are ${all}`);
    }),
  );
}
