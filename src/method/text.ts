import type { Limits } from "../core/limits.ts";
import { lengthUtf8, wellFormed, wellFormedJson } from "../core/text.ts";
import { GatewayError } from "../protocol/errors.ts";

/** Text a client sent: made well-formed. @throws GatewayError TOO_LARGE */
export function bounded(text: string, option: keyof Limits, limits: Limits): string {
  return within(wellFormed(text), option, limits);
}

/** A JSON object a client sent, as text: made well-formed. @throws GatewayError TOO_LARGE */
export function boundedJson(
  value: Record<string, unknown> | undefined,
  option: keyof Limits,
  limits: Limits,
): string {
  return value === undefined ? "{}" : within(wellFormedJson(JSON.stringify(value)), option, limits);
}

/** The title of a session: made well-formed. @throws GatewayError TOO_LARGE */
export function boundedTitle(text: string, limits: Limits): string {
  const title = wellFormed(text);
  if (title.length > limits.title_chars) throw tooLarge("title_chars", `${title.length} characters`, limits);
  return title;
}

/** What is stored counts: a character that was replaced may be longer than it was. */
function within(text: string, option: keyof Limits, limits: Limits): string {
  const bytes = lengthUtf8(text);
  if (bytes > limits[option]) throw tooLarge(option, `${bytes} bytes`, limits);
  return text;
}

function tooLarge(option: keyof Limits, size: string, limits: Limits): GatewayError {
  const limit = limits[option];
  return new GatewayError("TOO_LARGE", `${size} are more than the ${limit} of limits.${option}: send less`, {
    details: { kind: option },
    limit: { what: option, limit },
  });
}
