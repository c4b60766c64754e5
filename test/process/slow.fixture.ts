import { startCutProxy } from "../support/cut-proxy.ts";
import type { CutProxy } from "../support/cut-proxy.ts";
import type { RunningGateway } from "../support/gateway-process.ts";
import { startGateway } from "../support/gateway-process.ts";
import type { ModelServer } from "../support/model-server.ts";
import { startModelServer } from "../support/model-server.ts";
import type { Watcher, WatcherOptions } from "../support/watcher.ts";
import { startWatcher } from "../support/watcher.ts";
import { call } from "./direct.ts";

export const MIB = 1_024 * 1_024;

export interface Stats {
  readonly slow_consumers: number;
  readonly memory_usage: number;
}

/** A gateway in front of a model, and readers whose connections are as slow as they are told to be. */
export interface SlowReaders extends AsyncDisposable {
  readonly model: ModelServer;
  readonly gateway: RunningGateway;
  stats(): Promise<Stats>;
  watch(session_id: string, name: string, more?: Partial<WatcherOptions>): Watcher;
  /** A reader behind a proxy of its own, with no more room in the kernel than a network leaves. */
  watchThrough(
    session_id: string,
    name: string,
    more?: Partial<WatcherOptions>,
  ): { readonly watcher: Watcher; readonly proxy: CutProxy };
}

export async function startSlowReaders(): Promise<SlowReaders> {
  const model = await startModelServer({ keep: false });
  const gateway = await startGateway({
    config: {
      llm: {
        default_provider: "test",
        default_model: "test/model",
        providers: { test: { base_url: model.url() } },
      },
      // What is needed is made as fast as it can be.
      limits: { mutations_per_second: 100_000, mutations_burst: 100_000 },
    },
  });
  const proxies: CutProxy[] = [];
  const watch: SlowReaders["watch"] = (session_id, name, more = {}) =>
    startWatcher({
      name,
      session_id,
      token: gateway.token,
      route: () => gateway.url,
      stall_ms: 120_000,
      ...more,
    });
  return {
    model,
    gateway,
    stats: () => call<Stats>(gateway, "system.stats"),
    watch,
    watchThrough(session_id, name, more = {}) {
      const proxy = startCutProxy({ target: () => gateway.address, narrow: true });
      proxies.push(proxy);
      const through = { route: () => `http://${proxy.address}`, headers: { host: gateway.address } };
      return { watcher: watch(session_id, name, { ...through, ...more }), proxy };
    },
    async [Symbol.asyncDispose]() {
      for (const proxy of proxies) proxy.stop();
      await gateway[Symbol.asyncDispose]();
      model.stop();
    },
  };
}
