import type { ModelRouter } from "./core/ports.ts";
import type { Engine } from "./engine.ts";
import type { Leaving } from "./leaving.ts";
import type { TransportContext } from "./transport/context.ts";

export interface ReadinessParts {
  readonly engine: Engine;
  readonly router: ModelRouter;
  readonly leaving: Leaving;
}

/** The checks of /ready: whether this gateway can take a message now. */
export function readiness({ engine, router, leaving }: ReadinessParts): TransportContext["ready"] {
  return () => {
    // What became of the last group, or of the last probe since one was refused.
    const refused = engine.journal.refused;
    // The provider a run without a choice of its own goes to; the others are in system.status.
    const name = router.default_model.split("/", 1)[0];
    const provider = router.states().find((state) => state.name === name);
    const low = engine.lowDisk();
    return {
      store:
        refused === null ? { ok: true } : { ok: false, reason: `storage refuses writes (${refused.reason})` },
      disk: low === null ? { ok: true } : { ok: false, reason: low },
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
