import type { HookContext, HookSet } from "../core/hook-set.ts";
import type { Logger } from "../core/ports.ts";
import type { PluginContext, PluginGateway } from "./api.ts";
import type { Running } from "./running.ts";

/** The hooks of a plug-in, as the gateway calls hooks; null: it has none. */
export function hooksOf(running: Running): HookSet | null {
  const { hooks } = running.plugin;
  if (hooks === undefined) return null;
  const { gateway } = running;
  const entries = Object.keys(hooks).map((name) => {
    const hook = (subject: never, context: HookContext): unknown => {
      // Those that were waiting when it was unloaded.
      if (running.hasEnded) return undefined;
      const answer = atOnce(hooks[name as keyof HookSet]?.(subject, new HookCall(context, gateway)));
      return answer instanceof Promise ? running.untilEnd(answer) : answer;
    };
    return [name, hook];
  });
  return Object.fromEntries(entries) as HookSet;
}

/** What it answers, where that is known already: then nobody has to wait for it, or to look how long that takes. */
function atOnce(answer: unknown): unknown {
  const isThere = answer instanceof Promise && Bun.peek.status(answer) === "fulfilled";
  return isThere ? Bun.peek(answer) : answer;
}

/** Hands on a signal that is only made when it is asked for. */
class HookCall implements PluginContext {
  readonly gateway: PluginGateway;
  readonly #context: HookContext;

  constructor(context: HookContext, gateway: PluginGateway) {
    this.#context = context;
    this.gateway = gateway;
  }

  get signal(): AbortSignal {
    return this.#context.signal;
  }

  get log(): Logger {
    return this.#context.log;
  }
}
