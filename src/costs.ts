import type { Config } from "./config.ts";
import type { Live } from "./core/live.ts";
import { createPrices, microsOf } from "./core/prices.ts";
import type { UserBounds } from "./core/spending.ts";
import type { EngineOptions } from "./engine.ts";

const NANOS_PER_MICRO = 1_000;

/** What models cost, and what users may use: by the configuration that counts when they are asked. */
export function costsOf(live: Live<Config>): EngineOptions["costs"] {
  const costs = live.derive(readCosts);
  return {
    costOf: (model, usage) => costs.now.costOf(model, usage),
    // One for all that was ever counted: it stays that of the start.
    currency: costs.now.currency,
    boundsOf: (user) => costs.now.boundsOf(user),
  };
}

function readCosts({ llm, budgets }: Config): EngineOptions["costs"] {
  const prices = Object.entries(llm.providers).map(([name, provider]) => [name, provider.prices] as const);
  const { users, ...everybody } = budgets;
  const standard = boundsOf(everybody, everybody);
  const named = new Map(Object.entries(users).map(([user, own]) => [user, boundsOf(own, everybody)]));
  return {
    costOf: createPrices(Object.fromEntries(prices)),
    currency: llm.currency,
    boundsOf: (user) => named.get(user) ?? standard,
  };
}

/** Money in the configuration is in units of the currency, with at most six decimals. */
function boundsOf(own: { readonly [K in keyof UserBounds]?: number }, everybody: UserBounds): UserBounds {
  const money = (amount: number): number => (microsOf(amount) ?? 0) * NANOS_PER_MICRO;
  return {
    day_tokens: own.day_tokens ?? everybody.day_tokens,
    month_tokens: own.month_tokens ?? everybody.month_tokens,
    day_cost: money(own.day_cost ?? everybody.day_cost),
    month_cost: money(own.month_cost ?? everybody.month_cost),
  };
}
