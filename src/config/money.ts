import { Type } from "@sinclair/typebox";

/** Money, with at most six decimals. */
function money(description: string) {
  return Type.Number({ default: 0, description });
}

function tokens(description: string) {
  return Type.Integer({ default: 0, description, minimum: 0, maximum: Number.MAX_SAFE_INTEGER });
}

const Price = Type.Object({
  input: Type.Number(),
  output: Type.Number(),
  cached_input: Type.Optional(Type.Number()),
});

/** What models of a provider cost. */
export const PricesTable = Type.Record(Type.String(), Price, {
  default: {},
  description:
    'What a million tokens of a model cost, by patterns of its ids: `{ "gpt-4o*" = { input = 2.5, cached_input = 1.25, output = 10 } }`; the most specific counts, and what has none has no cost.',
  amounts: { needs: ["input", "output"], may: ["cached_input"] },
});

const bound = Type.Optional(Type.Number());
const UserBudget = Type.Object({
  day_tokens: bound,
  month_tokens: bound,
  day_cost: bound,
  month_cost: bound,
});

/** `[budgets]`: what users may use. */
export const BudgetsSection = Type.Object({
  day_tokens: tokens("Tokens one user may use in a day, of UTC; 0: no bound."),
  month_tokens: tokens("The same, in a month."),
  day_cost: money("What a user's calls of models may cost in a day, in `llm.currency`; 0: no bound."),
  month_cost: money("The same, in a month."),
  users: Type.Record(Type.String(), UserBudget, {
    default: {},
    description:
      "Other bounds for users, by name: `{ ada = { day_tokens = 500000, month_cost = 20 } }`; what is not said is as for everybody.",
    amounts: { needs: [], may: Object.keys(UserBudget.properties) },
  }),
});
