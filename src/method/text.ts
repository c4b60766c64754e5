import type { Limits } from "../core/limits.ts";
import { lengthUtf8, wellFormed } from "../core/text.ts";
import { GatewayError } from "../protocol/errors.ts";

/** Text a client sent: made well-formed. @throws GatewayError TOO_LARGE */
export function bounded(text: string, option: keyof Limits, limits: Limits): string {
  const bytes = lengthUtf8(text);
  if (bytes > limits[option]) throw tooLarge(option, bytes, limits);
  return wellFormed(text);
}

/** A JSON object a client sent, as text. @throws GatewayError TOO_LARGE */
export function boundedJson(
  value: Record<string, unknown> | undefined,
  option: keyof Limits,
  limits: Limits,
): string {
  if (value === undefined) return "{}";
  return bounded(JSON.stringify(value), option, limits);
}

function tooLarge(option: string, bytes: number, limits: Limits): GatewayError {
  const limit = limits[option as keyof Limits];
  return new GatewayError(
    "TOO_LARGE",
    `${bytes} bytes are more than the ${limit} of limits.${option}: send less`,
    {
      details: { kind: option, limit },
    },
  );
}
