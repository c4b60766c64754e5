import { statfsSync } from "node:fs";
import type { Config } from "./config.ts";
import type { Clock, ModelRouter } from "./core/ports.ts";
import type { Engine } from "./engine.ts";
import type { Leaving } from "./leaving.ts";
import type { TransportContext } from "./transport/context.ts";

/** How long an answer of the file system is believed. */
const DISK_TTL_MS = 5_000;
const MIB = 1024 * 1024;

type Check = ReturnType<TransportContext["ready"]>["disk"];

export interface ReadinessParts {
  readonly engine: Engine;
  readonly router: ModelRouter;
  readonly config: Config;
  readonly clock: Clock;
  readonly leaving: Leaving;
}

/** The checks of /ready: whether this gateway can take a message now. `config` is read each time. */
export function readiness({
  engine,
  router,
  config,
  clock,
  leaving,
}: ReadinessParts): TransportContext["ready"] {
  const freeOf = createFree(config.server.data_dir, clock);
  return () => {
    // What became of the last group, or of the last probe since one was refused.
    const refused = engine.journal.refused;
    // The provider a run without a choice of its own goes to; the others are in system.status.
    const name = router.default_model.split("/", 1)[0];
    const provider = router.states().find((state) => state.name === name);
    return {
      store:
        refused === null ? { ok: true } : { ok: false, reason: `storage refuses writes (${refused.reason})` },
      disk: diskCheck(freeOf(), config.storage.min_free_bytes),
      draining:
        leaving.begun || engine.status() === "draining"
          ? { ok: false, reason: "the gateway is stopping" }
          : { ok: true },
      provider:
        provider?.ready === true
          ? { ok: true }
          : { ok: false, reason: `${name}: ${provider?.reason ?? "not configured"}` },
    };
  };
}

function diskCheck(free: number | string, least: number): Check {
  if (typeof free === "string") return { ok: false, reason: `server.data_dir cannot be looked at (${free})` };
  if (free >= least) return { ok: true };
  const wanted = `storage.min_free_bytes is ${Math.ceil(least / MIB)} MiB`;
  return { ok: false, reason: `${Math.floor(free / MIB)} MiB free in server.data_dir, ${wanted}` };
}

/** Bytes that are free where a directory is, as of a moment ago; text: why nobody knows. */
function createFree(directory: string, clock: Clock): () => number | string {
  let last: { readonly at: number; readonly free: number | string } | null = null;
  const look = (): number | string => {
    try {
      const { bavail, bsize } = statfsSync(directory);
      return bavail * bsize;
    } catch (error) {
      return (error as NodeJS.ErrnoException).code ?? (error as Error).message;
    }
  };
  return () => {
    const now = clock.monotonic();
    if (last === null || now - last.at > DISK_TTL_MS) last = { at: now, free: look() };
    return last.free;
  };
}
