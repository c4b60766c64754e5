import { expect, test } from "bun:test";
import { load, refusal } from "./config.fixture.ts";

const LOCAL = '[llm.providers.local]\nbase_url = "http://localhost:1"\n';

test("prices by patterns, whose models have dots, colons and slashes in their names", () => {
  const toml = `
[llm]
currency = "EUR"
[llm.providers.openai.prices]
"gpt-4.1*" = { input = 2, cached_input = 0.5, output = 8 }
${LOCAL}
[llm.providers.local.prices."qwen3:8b"]
input = 0
output = 0.000001
`;
  const { config } = load({ toml });
  expect(config.llm.currency).toBe("EUR");
  expect(config.llm.providers["openai"]?.prices).toEqual({
    "gpt-4.1*": { input: 2, cached_input: 0.5, output: 8 },
  });
  expect(config.llm.providers["local"]?.prices).toEqual({ "qwen3:8b": { input: 0, output: 0.000001 } });
});

test("the same in variables, in the order of the keys; what is left empty is left out", () => {
  const { config } = load({
    toml: LOCAL,
    env: {
      AGENTBUS_LLM_PROVIDERS_LOCAL_PRICES: "qwen3:8b=0:0, org/*=1.5:2:0.75",
      AGENTBUS_BUDGETS_MONTH_COST: "12.50",
      AGENTBUS_BUDGETS_USERS: "ada=1000::0.5, ann=::3:4",
    },
  });
  expect(config.llm.providers["local"]?.prices).toEqual({
    "qwen3:8b": { input: 0, output: 0 },
    "org/*": { input: 1.5, output: 2, cached_input: 0.75 },
  });
  expect(config.budgets).toEqual({
    day_tokens: 0,
    month_tokens: 0,
    day_cost: 0,
    month_cost: 12.5,
    users: { ada: { day_tokens: 1_000, day_cost: 0.5 }, ann: { day_cost: 3, month_cost: 4 } },
  });
});

const P = "agentbus.toml: llm.providers.openai.prices: ";
const price = (entry: string): string => `[llm.providers.openai.prices]\n${entry}`;
test.each<[string, string]>([
  [price('"gpt-4o" = { input = 1 }'), `${P}"gpt-4o" has no output`],
  [
    price('"gpt-4o" = { input = 1, output = 2, currency = "EUR" }'),
    `${P}"gpt-4o" has "currency": it takes input and output, perhaps cached_input`,
  ],
  [
    price('"gpt-4o" = { input = 0.1234567, output = 1 }'),
    `${P}input of "gpt-4o" must be an amount, 0 or more, with at most six decimals, not 0.1234567`,
  ],
  [
    price('"gpt-4o" = { input = -1, output = 1 }'),
    `${P}input of "gpt-4o" must be an amount, 0 or more, with at most six decimals, not -1`,
  ],
  [price('"gpt-4o" = 3'), `${P}"gpt-4o" must be a table with input and output, perhaps cached_input`],
  [price('"" = { input = 1, output = 2 }'), `${P}"" is no pattern of model ids`],
  ["[llm]\ncurrency = '2 USD'", 'agentbus.toml: llm.currency: "2 USD" is no name of a currency, like USD'],
  [
    "[budgets]\nday_cost = '1'",
    'agentbus.toml: budgets.day_cost: it must be an amount, 0 or more, with at most six decimals, not "1"',
  ],
  [
    "[budgets.users]\nada = { day_tokens = 1.5 }",
    'agentbus.toml: budgets.users: "ada": day_tokens must be a whole number, not 1.5',
  ],
  ['[budgets.users]\n"a b" = { day_tokens = 1 }', 'agentbus.toml: budgets.users: "a b" is no name of a user'],
])("%s is refused", (toml, message) => {
  expect(refusal({ toml })).toBe(message);
});

test("a cost that is bounded where nothing has a price is pointed out", () => {
  const budgets = "[budgets.users.ada]\nday_cost = 1\n";
  expect(load({ toml: budgets }).warnings).toEqual([expect.stringContaining("no model has a price")]);
  expect(load({ toml: budgets + price('"*" = { input = 1, output = 1 }') }).warnings).toEqual([]);
});
