import { fixedChars, matcher } from "../core/pattern.ts";
import type { ToolPolicy } from "../core/ports.ts";

export type DecidePolicy = (tool: string) => ToolPolicy;

const POLICIES = new Set<string>(["allow", "ask", "deny"]);
/** Of tools that no pattern names. */
const OTHERWISE: ToolPolicy = "ask";

/**
 * What is done when a model calls a tool, by patterns of names: `*` stands for anything, the most specific pattern
 * counts. @throws Error naming the option where one is none
 */
export function createPolicy(patterns: Readonly<Record<string, string>>): DecidePolicy {
  const rules = Object.entries(patterns).map(([pattern, policy]) => {
    if (!/^[A-Za-z0-9_.*-]{1,129}$/.test(pattern)) {
      throw new Error(
        `tools.policy: "${pattern}" is no pattern of tool names; write it like github.* or http_fetch`,
      );
    }
    if (!POLICIES.has(policy)) {
      throw new Error(`tools.policy.${pattern}: "${policy}" is none of allow, ask, deny`);
    }
    return {
      test: matcher(pattern),
      fixed: fixedChars(pattern),
      policy: policy as ToolPolicy,
    };
  });
  // Of two that fix as many characters, the one that says deny, then the one that says ask.
  const order = { deny: 0, ask: 1, allow: 2 };
  rules.sort((a, b) => b.fixed - a.fixed || order[a.policy] - order[b.policy]);
  return (tool) => rules.find(({ test }) => test(tool))?.policy ?? OTHERWISE;
}
