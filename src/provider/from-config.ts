import { DEFAULT_LIMITS } from "../core/limits.ts";
import type { Clock, Logger, Provider } from "../core/ports.ts";
import { createDemoProvider } from "./demo.ts";
import type { ProviderBounds } from "./gates.ts";
import type { ProviderList } from "./list.ts";
import { createProviderList } from "./list.ts";
import { createOpenAiProvider } from "./openai.ts";
import type { Router } from "./router.ts";
import { createRouter } from "./router.ts";

/** The `[llm]` section. */
export interface LlmConfig {
  readonly default_provider: string;
  readonly default_model: string;
  readonly fallback: readonly string[];
  readonly retry_deadline_secs: number;
  readonly providers: Readonly<Record<string, LlmProviderConfig>>;
}

/** A `[llm.providers.NAME]` section. */
export interface LlmProviderConfig {
  readonly base_url: string;
  readonly api_key: string;
  readonly api_keys?: readonly string[];
  readonly api_key_header: string;
  readonly query: Readonly<Record<string, string>>;
  readonly models: readonly string[];
  readonly headers: Readonly<Record<string, string>>;
  readonly images?: boolean;
  readonly connect_timeout_ms: number;
  readonly first_token_timeout_ms: number;
  readonly idle_timeout_ms: number;
  readonly total_timeout_ms: number;
  readonly max_retries: number;
  readonly max_concurrent: number;
  readonly circuit_failures: number;
  readonly circuit_secs: number;
}

export interface ProviderDeps {
  readonly clock: Clock;
  readonly log: Logger;
  /** UTF-8 bytes of one answer; the limit `assistant_bytes`. */
  readonly max_message_bytes?: number;
  readonly random?: () => number;
  /** Others may come later: a name that leads nowhere yet is no mistake. */
  readonly mayCome?: boolean;
}

const DEMO = "demo";
const OPENAI_URL = "https://api.openai.com/v1";
const FALLBACK_MODEL = "gpt-4o-mini";
/** How a provider is called that has no section: the demo, or one that came later. */
const UNCONFIGURED: ProviderBounds = {
  max_retries: 2,
  max_concurrent: 0,
  circuit_failures: 5,
  circuit_secs: 30,
};
/** Room for one event of a stream, or for a whole answer whose every byte is escaped. */
const LINE_BYTES_PER_MESSAGE_BYTE = 4;

/**
 * The providers a configuration names, and the router over them. The demo is there when it is chosen or nothing else can be.
 * @throws Error, one line that says what to set, for a base_url or a name that leads nowhere.
 */
export function createProviders(
  llm: LlmConfig,
  deps: ProviderDeps,
): { readonly providers: ProviderList; readonly router: Router } {
  const { clock, log } = deps;
  const max_message_bytes = deps.max_message_bytes ?? DEFAULT_LIMITS.assistant_bytes;
  const sections = Object.entries(llm.providers);
  const known: Provider[] = sections.map(([name, section]) =>
    createOpenAiProvider({
      ...section,
      name,
      api_keys: keysOf(section),
      max_message_bytes,
      max_line_bytes: LINE_BYTES_PER_MESSAGE_BYTE * max_message_bytes,
      clock,
      log,
    }),
  );
  const picked = sections.find(
    ([, section]) => keysOf(section).length > 0 || !isOpenAi(section.base_url),
  )?.[0];
  const default_provider = llm.default_provider || (picked ?? DEMO);
  const named = [llm.default_model, ...llm.fallback].some((name) => name.startsWith(`${DEMO}/`));
  if ((default_provider === DEMO || named) && !(DEMO in llm.providers))
    known.push(createDemoProvider({ clock }));
  const providers = createProviderList(known);

  const router = createRouter({
    providers: () => providers.all(),
    default_provider,
    default_model: () => modelOf(llm, default_provider, providers.all()).model,
    fallback: llm.fallback,
    bounds: (name) => llm.providers[name] ?? UNCONFIGURED,
    retry_deadline_ms: llm.retry_deadline_secs * 1_000,
    clock,
    log,
    ...(deps.random && { random: deps.random }),
  });
  if (deps.mayCome !== true) router.check();
  if (modelOf(llm, default_provider, known).isReplaced) {
    log.warn(
      { model: llm.default_model },
      "llm.default_model is not used: no provider has a key, the demo model answers",
    );
  }
  const state = known.find(({ name }) => name === default_provider)?.state();
  if (state?.ready === false) log.warn({ provider: state.name }, `runs will fail: ${state.reason}`);
  return { providers, router };
}

function keysOf(section: LlmProviderConfig): string[] {
  return [section.api_key, ...(section.api_keys ?? [])].filter((key) => key !== "");
}

function isOpenAi(base_url: string): boolean {
  return base_url.replace(/\/+$/, "") === OPENAI_URL;
}

/** The model of runs without a choice of their own. */
function modelOf(
  llm: LlmConfig,
  default_provider: string,
  providers: readonly Provider[],
): { readonly model: string; readonly isReplaced: boolean } {
  const provider = providers.find(({ name }) => name === default_provider);
  const usual = `${default_provider}/${provider?.models()[0] ?? FALLBACK_MODEL}`;
  if (llm.default_model === "") return { model: usual, isReplaced: false };
  const prefix = llm.default_model.split("/")[0];
  // Nobody asked for the demo: it stands in until there is a key, and has none of the models of what it stands for.
  const stands_in = default_provider === DEMO && llm.default_provider === "";
  const isReplaced = stands_in && !providers.some(({ name }) => name === prefix);
  return { model: isReplaced ? usual : llm.default_model, isReplaced };
}
