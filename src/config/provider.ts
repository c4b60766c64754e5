import { Type } from "@sinclair/typebox";
import { integer, list, secret, text, toggle } from "./kinds.ts";
import { PricesTable } from "./money.ts";

const MINUTES_MS = 60 * 60_000;

/** `[llm.providers.NAME]`. */
export const ProviderSection = Type.Object({
  base_url: text(
    "",
    "Address of an OpenAI-compatible API; `{model}` in its path is the model. `openai` knows its own, every other provider needs one.",
    {
      shown: "https://api.openai.com/v1",
    },
  ),
  api_key: secret("", "Key for it. Only `openai` looks into the environment for one by itself."),
  api_keys: list("More keys, used in turn; one that is limited or refused is passed over for a while.", {
    secret: true,
  }),
  api_key_header: text(
    "",
    "Header the key is sent in as it is, such as `api-key`; empty: `Authorization: Bearer`.",
  ),
  query: Type.Record(Type.String(), Type.String(), {
    default: {},
    description: 'Parameters of every request\'s address, as `{ api-version = "…" }`.',
    secret: true,
  }),
  models: list("The models it may be asked for; empty: any name is passed on."),
  images: toggle(true, "Whether its models take images; those that do not are told that there are some."),
  prices: PricesTable,
  headers: Type.Record(Type.String(), Type.String(), {
    default: {},
    description: 'Headers sent with every request, as `{ name = "value" }`.',
    secret: true,
  }),
  connect_timeout_ms: integer(10_000, "Longest wait for a connection.", [1, MINUTES_MS]),
  first_token_timeout_ms: integer(120_000, "Longest wait for the first token.", [1, MINUTES_MS]),
  idle_timeout_ms: integer(120_000, "Longest silence in the middle of an answer.", [1, MINUTES_MS]),
  total_timeout_ms: integer(0, "Longest answer; 0: no bound but the run's.", [0, 24 * MINUTES_MS]),
  max_retries: integer(2, "How often a model that fails is asked again, before another one is.", [0, 10]),
  max_concurrent: integer(0, "Answers at once; more runs wait for their turn. 0: no bound.", [0, 10_000]),
  circuit_failures: integer(
    5,
    "Failures in a row after which models of other providers in `llm.fallback` are asked at once; 0: it is always asked first.",
    [0, 1_000],
  ),
  circuit_secs: integer(
    30,
    "For how long, before one run tries it again; longer each time that fails, up to ten times as long.",
    [1, 3_600],
  ),
});
