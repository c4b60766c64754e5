import { DEFAULT_LIMITS } from "../core/limits.ts";
import type { Live } from "../core/live.ts";
import type { Clock, Logger, ModelRouter, Provider } from "../core/ports.ts";
import { createDemoProvider } from "./demo.ts";
import type { Gates, ProviderBounds } from "./gates.ts";
import { createGates } from "./gates.ts";
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

/** What is said of providers. */
export interface ProvidersConfig {
  readonly llm: LlmConfig;
  /** UTF-8 bytes of one answer; the limit `assistant_bytes`. */
  readonly max_message_bytes?: number;
}

export interface ProviderDeps {
  readonly clock: Clock;
  readonly log: Logger;
  readonly random?: () => number;
  /** Others may come later: a name that leads nowhere yet is no mistake. Asked each time. */
  readonly mayCome?: () => boolean;
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

/** What one configuration makes. */
interface Made {
  readonly llm: LlmConfig;
  readonly providers: readonly Provider[];
  /** What each was made of: one that is made of the same stays, with what it has learned. */
  readonly sources: ReadonlyMap<Provider, string>;
  readonly default_provider: string;
  readonly router: Router;
}

/**
 * The providers a configuration names, and the router over them. The demo is there when it is chosen or nothing else can be.
 * With the next configuration come the next providers, in place of those that something is new of; calls that have begun
 * go on as they began.
 * @throws Error, one line that says what to set, for a base_url or a name that leads nowhere; so it refuses a next one.
 */
export function createProviders(
  config: Live<ProvidersConfig>,
  deps: ProviderDeps,
): { readonly providers: ProviderList; readonly router: ModelRouter } {
  const { clock, log } = deps;
  const providers = createProviderList(() => made.now.providers);
  const gates = createGates({ bounds: (name) => boundsIn(made.now.llm, name), clock, log });
  const parts: Parts = { deps, gates, others: () => providers.added() };
  const made: Live<Made> = config.derive((next, before) => make(next, before, parts));
  warnOf(made.now, log);
  made.onReplaced((now) => warnOf(now, log));
  const router: ModelRouter = {
    get default_model() {
      return made.now.router.default_model;
    },
    states: () => made.now.router.states(),
    models: () => made.now.router.models(),
    resolve: (model) => made.now.router.resolve(model),
    stream: (request, how) => made.now.router.stream(request, how),
  };
  return { providers, router };
}

interface Parts {
  readonly deps: ProviderDeps;
  readonly gates: Gates;
  /** Those of nobody's configuration. */
  readonly others: () => readonly Provider[];
}

/** @throws Error */
function make(next: ProvidersConfig, before: Made | null, { deps, gates, others }: Parts): Made {
  const { llm } = next;
  const { clock, log, random, mayCome } = deps;
  const default_provider = llm.default_provider || (pickedOf(llm) ?? DEMO);
  const sources = providersOf(next, default_provider, before, deps);
  const known = [...sources.keys()];
  const taken = others().find(({ name }) => known.some((each) => each.name === name));
  if (taken !== undefined) {
    throw new Error(`llm.providers.${taken.name}: a plug-in has a provider of that name: choose another`);
  }
  const all = (): readonly Provider[] => [...known, ...others()];
  const router = createRouter({
    providers: all,
    default_provider,
    default_model: () => modelOf(llm, default_provider, all()).model,
    fallback: llm.fallback,
    bounds: (name) => boundsIn(llm, name),
    gates,
    retry_deadline_ms: llm.retry_deadline_secs * 1_000,
    clock,
    log,
    ...(random && { random }),
  });
  if (mayCome?.() !== true) router.check();
  return { llm, providers: known, sources, default_provider, router };
}

/** The providers, each with what it is made of. */
function providersOf(
  { llm, max_message_bytes = DEFAULT_LIMITS.assistant_bytes }: ProvidersConfig,
  default_provider: string,
  before: Made | null,
  { clock, log }: ProviderDeps,
): Map<Provider, string> {
  const made = new Map<Provider, string>();
  const last = new Map(Array.from(before?.sources ?? [], ([provider, source]) => [source, provider]));
  const add = (source: string, create: () => Provider): void =>
    void made.set(last.get(source) ?? create(), source);
  for (const [name, section] of Object.entries(llm.providers)) {
    add(JSON.stringify([name, section, max_message_bytes]), () =>
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
  }
  const named = [llm.default_model, ...llm.fallback].some((name) => name.startsWith(`${DEMO}/`));
  if ((default_provider === DEMO || named) && !(DEMO in llm.providers))
    add(DEMO, () => createDemoProvider({ clock }));
  return made;
}

/** What a configuration has of which somebody should know. */
function warnOf({ llm, providers, default_provider }: Made, log: Logger): void {
  if (modelOf(llm, default_provider, providers).isReplaced) {
    log.warn(
      { model: llm.default_model },
      "llm.default_model is not used: no provider has a key, the demo model answers",
    );
  }
  const state = providers.find(({ name }) => name === default_provider)?.state();
  if (state?.ready === false) log.warn({ provider: state.name }, `runs will fail: ${state.reason}`);
}

/** The first that can be used. */
function pickedOf(llm: LlmConfig): string | undefined {
  const usable = (section: LlmProviderConfig): boolean =>
    keysOf(section).length > 0 || !isOpenAi(section.base_url);
  return Object.entries(llm.providers).find(([, section]) => usable(section))?.[0];
}

function boundsIn(llm: LlmConfig, provider: string): ProviderBounds {
  return llm.providers[provider] ?? UNCONFIGURED;
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
