import { statfsSync } from "node:fs";
import type { Clock, ModelRouter } from "./core/ports.ts";
import type { Engine } from "./engine.ts";
import type { TransportContext } from "./transport/context.ts";

/** Free space on the data directory's disk below which /ready says so. */
const DISK_FREE_BYTES = 64 * 1024 * 1024;
/** How long an answer of the file system is believed. */
const DISK_TTL_MS = 5_000;

/** The checks of /ready: whether this gateway can take a message now. */
export function readiness(
  engine: Engine,
  router: ModelRouter,
  data_dir: string,
  clock: Clock,
): TransportContext["ready"] {
  let disk = { at: Number.NEGATIVE_INFINITY, free: 0 };
  return () => {
    const now = clock.monotonic();
    if (now - disk.at > DISK_TTL_MS) {
      const { bavail, bsize } = statfsSync(data_dir);
      disk = { at: now, free: bavail * bsize };
    }
    const refused = engine.journal.refused;
    const low = disk.free < DISK_FREE_BYTES;
    // The provider a run without a choice of its own goes to; the others are in system.status.
    const name = router.default_model.split("/", 1)[0];
    const provider = router.states().find((state) => state.name === name);
    return {
      store:
        refused === null ? { ok: true } : { ok: false, reason: `storage refuses writes (${refused.reason})` },
      disk: low
        ? { ok: false, reason: `${Math.floor(disk.free / 1_048_576)} MiB free in server.data_dir` }
        : { ok: true },
      draining:
        engine.status() === "draining" ? { ok: false, reason: "the gateway is stopping" } : { ok: true },
      provider:
        provider?.ready === true
          ? { ok: true }
          : { ok: false, reason: `${name}: ${provider?.reason ?? "not configured"}` },
    };
  };
}
