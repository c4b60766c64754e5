import type { ModelEvent, ModelRequest, Provider } from "../../src/core/ports.ts";
import { GatewayError } from "../../src/protocol/errors.ts";
import type { ProviderBounds } from "../../src/provider/gates.ts";
import type { Router, RouterOptions } from "../../src/provider/router.ts";
import { createRouter } from "../../src/provider/router.ts";
import { createLogbook } from "../support/logbook.ts";
import { instantClock } from "./provider.support.ts";

export type Scripted = Provider & { readonly asked: ModelRequest[] };

/** A provider that answers call n with script n, and the last one again and again. */
export function scripted(name: string, models: string[], ...answers: ModelEvent[][]): Scripted {
  const asked: ModelRequest[] = [];
  return {
    name,
    asked,
    state: () => ({ name, ready: true }),
    models: () => models,
    async *stream(request) {
      const answer = answers[Math.min(asked.length, answers.length - 1)] ?? [];
      asked.push(request);
      yield* answer;
    },
  };
}

/** Who answers from here on. */
export const by = (model: string): ModelEvent => ({ type: "model", model });
export const text = (said: string): ModelEvent => ({ type: "text", text: said });
export const fails = (
  message: string,
  options?: ConstructorParameters<typeof GatewayError>[2],
): ModelEvent => ({
  type: "error",
  error: new GatewayError("UPSTREAM_ERROR", message, options),
});
export const busy = fails("busy", { retryable: true });

type More = Partial<Omit<RouterOptions, "default_model">> &
  Partial<ProviderBounds> & { readonly default_model?: string };

const BOUNDS: ProviderBounds = { max_retries: 2, max_concurrent: 0, circuit_failures: 0, circuit_secs: 30 };

/** As every provider is called, unless `more` says so. */
export function boundsOf(more: Partial<ProviderBounds>): ProviderBounds {
  const { max_retries, max_concurrent, circuit_failures, circuit_secs } = { ...BOUNDS, ...more };
  return { max_retries, max_concurrent, circuit_failures, circuit_secs };
}

/** Over the providers given, the first of which is the default. */
export function routerOf(providers: Provider[], more: More = {}): Router {
  const { default_model = providers[0]?.models()[0] ?? "any", ...options } = more;
  const router = createRouter({
    providers: () => providers,
    default_provider: providers[0]?.name ?? "",
    default_model: () => default_model,
    fallback: [],
    bounds: () => boundsOf(more),
    retry_deadline_ms: 0,
    clock: instantClock(),
    log: createLogbook(),
    random: () => 0.5,
    ...options,
  });
  router.check();
  return router;
}
