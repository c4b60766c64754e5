import type { ModelEvent, ModelRouter, Provider } from "../core/ports.ts";
import { GatewayError } from "../protocol/errors.ts";
import type { FindModel, Target } from "./names.ts";
import { createFindModel } from "./names.ts";
import type { ProviderBounds } from "./gates.ts";
import type { Gates } from "./gates.ts";
import { createGates } from "./gates.ts";
import type { TriesOptions } from "./tries.ts";
import { tryAll } from "./tries.ts";

export interface RouterOptions extends TriesOptions {
  /** Those there are now. */
  readonly providers: () => readonly Provider[];
  /** Where names without a configured prefix go. */
  readonly default_provider: string;
  /** Where a run without a choice of its own goes now: a name that is found. */
  readonly default_model: () => string;
  /** Names tried in this order when a model fails. */
  readonly fallback: readonly string[];
  /** How a provider is called, by its name. */
  readonly bounds: (provider: string) => ProviderBounds;
  /** Those that stand already before some of the providers. */
  readonly gates?: Gates;
}

export interface Router extends ModelRouter {
  /** @throws Error, one line that says what to set, when a name in the options leads nowhere. */
  check(): void;
}

/** In its streams `retrying.attempt` counts from 1 how often a model was asked again, fallbacks included. */
export function createRouter(options: RouterOptions): Router {
  const { providers, default_provider } = options;
  const find = createFindModel(providers, default_provider);
  const gates = options.gates ?? createGates(options);
  return {
    get default_model() {
      const name = options.default_model();
      const whole = name.startsWith(`${default_provider}/`) ? name : `${default_provider}/${name}`;
      return found(find, name)?.name ?? whole;
    },
    states: () => providers().map((provider) => gates.stateOf(provider)),
    models: () => known(providers(), foundAll(find, [options.default_model(), ...options.fallback])),
    resolve: (model) => find(model === null || model === "" ? options.default_model() : model).name,
    check() {
      configured(find, "llm.default_model", options.default_model());
      for (const name of options.fallback) configured(find, "llm.fallback", name);
    },
    stream(request, { signal }) {
      let first: Target;
      try {
        first = find(request.model);
      } catch (cause) {
        return failed(cause);
      }
      const others = foundAll(find, options.fallback).filter(({ name }) => name !== first.name);
      return tryAll({ options, gates, targets: [first, ...others], request, signal });
    },
  };
}

function configured(find: FindModel, option: string, name: string): void {
  try {
    find(name);
  } catch (cause) {
    if (cause instanceof GatewayError && cause.reason === "UNAVAILABLE") throw cause;
    throw new Error(`${option}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
  }
}

/** Null: it leads nowhere now. */
function found(find: FindModel, name: string): Target | null {
  try {
    return find(name);
  } catch {
    // Of a provider that was taken out; who asks for it by name is told so.
    return null;
  }
}

function foundAll(find: FindModel, names: readonly string[]): Target[] {
  return names.flatMap((name) => found(find, name) ?? []);
}

/** The models of every list, and those of the configuration that are on none. */
function known(providers: readonly Provider[], named: readonly Target[]): { id: string; provider: string }[] {
  const ids = new Map<string, string>();
  for (const provider of providers) {
    for (const model of provider.models()) ids.set(`${provider.name}/${model}`, provider.name);
  }
  for (const { name, provider } of named) ids.set(name, provider.name);
  return Array.from(ids, ([id, provider]) => ({ id, provider }));
}

async function* failed(cause: unknown): AsyncGenerator<ModelEvent> {
  const error =
    cause instanceof GatewayError
      ? cause
      : new GatewayError("INTERNAL_ERROR", "no model could be chosen", { cause });
  yield { type: "error", error };
}
