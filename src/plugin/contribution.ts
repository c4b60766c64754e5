import type { AddedRoute } from "../core/plugins.ts";
import type { Tool } from "../core/ports.ts";
import { hooksOf } from "./hooks.ts";
import { listen } from "./listeners.ts";
import { methodsOf } from "./methods.ts";
import type { PluginHost } from "./plugins.ts";
import { providersOf } from "./providers.ts";
import { routesOf } from "./routes.ts";
import type { Running } from "./running.ts";
import { toolsOf } from "./tools.ts";

/** What a plug-in adds to a gateway while it is part of it. */
export interface Contribution {
  readonly tools: readonly Tool[];
  readonly routes: readonly AddedRoute[];
  /** Takes out what is not listed here. Resolves when no hook of it is open. */
  takeOut(): Promise<void>;
}

export interface ContributionBounds {
  /** Longest call of a tool that says nothing else. */
  readonly tool_ms: number;
  /** Events that may wait for it. */
  readonly backlog: number;
}

/** Adds what a plug-in has: everything, or nothing where it throws. */
export function contribute(running: Running, host: PluginHost, bounds: ContributionBounds): Contribution {
  const undo: (() => unknown)[] = [];
  const takeOut = async (): Promise<void> => {
    await Promise.all(undo.splice(0).map((each) => each()));
  };
  try {
    for (const method of methodsOf(running)) {
      host.addMethod(method);
      undo.push(() => host.removeMethod(method.definition.name));
    }
    for (const provider of providersOf(running)) undo.push(host.addProvider(provider));
    const hooks = hooksOf(running);
    if (hooks !== null) undo.push(host.addHooks(running, hooks));
    undo.push(listen(running, (type, observer) => host.on(type, observer), bounds.backlog));
    return { tools: toolsOf(running, bounds.tool_ms), routes: routesOf(running), takeOut };
  } catch (error) {
    void takeOut();
    throw error;
  }
}
