import { GatewayError } from "../protocol/errors.ts";
import type { TransportContext } from "./context.ts";
import { authenticate } from "./rest-guard.ts";
import { SECURED } from "./rest-openapi.ts";
import type { HttpRoute, Operation } from "./rest-reply.ts";

const SCOPE = "system.read";
const OPENMETRICS = /(?:^|,)\s*application\/openmetrics-text\s*(?:;|,|$)/i;

const OPERATION: Operation = {
  summary: "What is measured, for Prometheus.",
  description: `Text in Prometheus' format, or in OpenMetrics where Accept asks for it. Needs the scope ${SCOPE}.`,
  tags: ["system"],
  security: SECURED,
  responses: {
    200: { description: "every metric", content: { "text/plain": { schema: { type: "string" } } } },
  },
};

/** What is measured. Numbers tell of people, too: how many there are and what they use, so a credential is asked for. */
export function metricsRoute(context: TransportContext): HttpRoute {
  return {
    verb: "GET",
    path: "/metrics",
    describe: () => (context.metrics === null ? null : OPERATION),
    handle: async (visit) => {
      const principal = await authenticate(context, visit, "rest");
      if (!principal.scopes.has(SCOPE)) {
        throw new GatewayError("FORBIDDEN", `GET /metrics needs the scope ${SCOPE}`, {
          details: { kind: "scope", scope: SCOPE },
        });
      }
      if (context.metrics === null) {
        throw new GatewayError("NOT_FOUND", "metrics are off (metrics.enabled = false)", {
          details: { kind: "path" },
        });
      }
      const accept = visit.request.headers.get("accept") ?? "";
      const { type, text } = context.metrics(OPENMETRICS.test(accept) ? "openmetrics" : "prometheus");
      return new Response(text, { headers: { "content-type": type } });
    },
  };
}
