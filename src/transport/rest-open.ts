import type { TransportContext } from "./context.ts";
import type { HttpRoute, Operation } from "./rest-reply.ts";
import { json } from "./rest-reply.ts";

/** What needs no credential: whether the gateway lives, and whether it takes work. */
export function openRoutes(context: TransportContext): HttpRoute[] {
  const { options, clock, uptime, status, ready } = context;
  return [
    open("/health", "Answers while the process lives.", () =>
      json(200, { status: "healthy", timestamp: clock.now() }),
    ),
    open("/status", "Name, version and how it is.", () =>
      json(200, {
        name: options.name,
        version: options.version,
        status: status(),
        uptime: uptime(),
        timestamp: clock.now(),
      }),
    ),
    open("/ready", "200 while it takes work, else 503 with what is missing.", () => {
      const checks = ready();
      // A provider that is not ready fails its runs; it does not make this node useless.
      const takesWork = checks.store.ok && checks.disk.ok && checks.draining.ok;
      return json(takesWork ? 200 : 503, { status: takesWork ? "ready" : "unready", checks });
    }),
  ];
}

function open(path: string, summary: string, handle: () => Response): HttpRoute {
  const operation: Operation = { summary, tags: ["system"] };
  return { verb: "GET", path, describe: () => operation, handle };
}
