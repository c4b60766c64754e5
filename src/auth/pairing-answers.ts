import { GatewayError } from "../protocol/errors.ts";

export function rejected(): GatewayError {
  return new GatewayError("FORBIDDEN", "this device was refused: ask whoever looks after the gateway", {
    details: { kind: "pairing_rejected" },
  });
}

export function expired(): GatewayError {
  return new GatewayError("UNAUTHORIZED", "nobody approved this device in time: ask for another code", {
    details: { kind: "pairing_expired" },
  });
}

export function tooManyCodes(wait_ms: number): GatewayError {
  return new GatewayError("RATE_LIMITED", "too many wrong codes: try again later", {
    details: { kind: "pairing" },
    retry_after_ms: wait_ms,
  });
}
