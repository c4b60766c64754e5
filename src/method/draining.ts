import { GatewayError } from "../protocol/errors.ts";

/** What is begun no more. */
export function stopping(): GatewayError {
  return new GatewayError("UNAVAILABLE", "the gateway is stopping; nothing was done", {
    details: { kind: "draining" },
    retry_after_ms: 1_000,
  });
}
