import type { Clock, Logger, Provider, ProviderState } from "../core/ports.ts";
import { Circuit } from "./circuit.ts";
import { Places } from "./places.ts";

/** How one provider is called. */
export interface ProviderBounds {
  /** How often a model is asked again before another one is. */
  readonly max_retries: number;
  /** Calls at once; more wait. 0: no bound. */
  readonly max_concurrent: number;
  /** Failures in a row after which others are asked in its place; 0: it is always asked. */
  readonly circuit_failures: number;
  /** For how long, before one call tries it again. */
  readonly circuit_secs: number;
}

/** What stands before one provider. */
export interface Gate {
  readonly bounds: ProviderBounds;
  readonly circuit: Circuit;
  readonly places: Places;
}

export interface GatesOptions {
  readonly bounds: (provider: string) => ProviderBounds;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Runs that wait at one provider. There are fewer by far, unless `agent.max_concurrent_runs` is raised beyond it. */
const MOST_WAITING = 1_000;

/** The gates of providers that come and go. */
export interface Gates {
  of(provider: Provider): Gate;
  /** What the provider says of itself, or why it is not asked. */
  stateOf(provider: Provider): ProviderState;
}

export function createGates(options: GatesOptions): Gates {
  const gates = new WeakMap<Provider, Gate>();
  function of(provider: Provider): Gate {
    const known = gates.get(provider) ?? createGate(provider, options);
    gates.set(provider, known);
    return known;
  }
  return {
    of,
    stateOf(provider) {
      const state = provider.state();
      const open = state.ready ? of(provider).circuit.open : null;
      if (open === null) return state;
      return { name: provider.name, ready: false, reason: `${open.reason}; ${nextTry(open.retry_ms)}` };
    },
  };
}

/** When a provider that fails is tried again, in words. */
export function nextTry(retry_ms: number): string {
  return retry_ms === 0 ? "the next call tries it" : `tried again in ${Math.ceil(retry_ms / 1_000)} s`;
}

function createGate({ name }: Provider, { bounds: boundsOf, clock, log }: GatesOptions): Gate {
  const bounds = boundsOf(name);
  const circuit = new Circuit({
    failures: bounds.circuit_failures,
    open_ms: bounds.circuit_secs * 1_000,
    clock,
    changed: (change) => {
      if (change.to === "open") {
        const fields = { provider: name, failures: bounds.circuit_failures };
        return log.warn(
          fields,
          `provider ${name} is failing, others are asked where there are any: ${change.reason}`,
        );
      }
      const secs = Math.round(change.after_ms / 1_000);
      return log.info({ provider: name, secs }, `provider ${name} answers again`);
    },
  });
  return { bounds, circuit, places: new Places(bounds.max_concurrent, MOST_WAITING) };
}
