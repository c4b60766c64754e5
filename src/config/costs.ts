import { User, validator } from "../protocol/schema.ts";
import type { Where } from "./auth.ts";
import { ConfigError } from "./error.ts";
import type { Config } from "./schema.ts";

const PATTERNS_MAX = 500;
const PATTERN_CHARS = 200;

/** The rules of prices and budgets. Returns warnings. @throws ConfigError */
export function checkCosts(config: Config, where: Where): string[] {
  const { llm, budgets } = config;
  if (!/^[\p{L}\p{Sc}][\p{L}\p{N}\p{Sc}_-]{0,15}$/u.test(llm.currency)) {
    throw new ConfigError(`${where("llm.currency")}: "${llm.currency}" is no name of a currency, like USD`);
  }
  const named = Object.entries(llm.providers);
  for (const [name, { prices }] of named)
    checkPatterns(Object.keys(prices), where(`llm.providers.${name}.prices`));
  const isUser = validator(User);
  for (const [user, bounds] of Object.entries(budgets.users)) {
    const at = `${where("budgets.users")}: ${JSON.stringify(user)}`;
    if (!isUser.Check(user)) throw new ConfigError(`${at} is no name of a user`);
    for (const key of ["day_tokens", "month_tokens"] as const) {
      if (Number.isSafeInteger(bounds[key] ?? 0)) continue;
      throw new ConfigError(`${at}: ${key} must be a whole number, not ${bounds[key]}`);
    }
  }
  const all = [budgets, ...Object.values(budgets.users)];
  const bounded = all.some(({ day_cost = 0, month_cost = 0 }) => day_cost > 0 || month_cost > 0);
  if (!bounded || named.some(([, { prices }]) => Object.keys(prices).length > 0)) return [];
  return [
    "budgets: a cost is bounded, but no model has a price (llm.providers.NAME.prices): it never counts",
  ];
}

function checkPatterns(patterns: readonly string[], where: string): void {
  if (patterns.length > PATTERNS_MAX) {
    throw new ConfigError(`${where}: there are ${patterns.length} patterns; ${PATTERNS_MAX} are possible`);
  }
  const wrong = patterns.find((each) => each.trim() === "" || each.length > PATTERN_CHARS);
  if (wrong !== undefined)
    throw new ConfigError(`${where}: "${wrong.slice(0, 60)}" is no pattern of model ids`);
}
