import { ownerPrincipal } from "./auth/owner.ts";
import type { Config } from "./config.ts";
import type { Outcome } from "./core/call.ts";
import type { Logger } from "./core/ports.ts";
import { construct } from "./gateway.ts";

export interface Offline {
  /** Runs a method as the owner. @throws GatewayError */
  dispatch(method: string, params: unknown): Promise<unknown>;
  close(): Promise<void>;
}

/** The store under its lock, without a listener: for commands while no gateway runs. */
export async function openOffline(config: Config, log: Logger, version: string): Promise<Offline> {
  const { opening, engine, store, credentials, automations, removals } = construct({
    config,
    log,
    version,
    onFatal: () => process.exit(1),
  });
  const opened = await opening.open(store);
  await automations.load();
  await engine.recover(opened);
  await credentials.start();
  return {
    dispatch(method, params) {
      const principal = ownerPrincipal("token", null);
      const signal = new AbortController().signal;
      const caller = {
        principal,
        transport: "local",
        client_id: "cli",
        remote: "local",
        connection: null,
        signal,
      } as const;
      return new Promise((resolve, reject) => {
        engine.registry.dispatch(caller, { method, params }, (outcome: Outcome) => {
          if (!outcome.ok) return reject(outcome.error);
          return resolve("text" in outcome ? JSON.parse(outcome.text) : outcome.payload);
        });
      });
    },
    async close() {
      await removals.close();
      credentials.close();
      await engine.drain(0);
      engine.journal.stop();
      await store.close();
    },
  };
}
