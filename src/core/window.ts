import type { ModelMessage } from "./ports.ts";
import { lengthUtf8 } from "./text.ts";

/** Bytes of UTF-8 that are counted as a token: fewer than most texts have, so that the estimate is rather too high. */
const TOKEN_BYTES = 3;
/** What a message weighs besides its text. */
const MESSAGE_TOKENS = 4;

/** Models make large images smaller before they look, so that none costs more than about this. */
const IMAGE_TOKENS = 1_700;
const PIXELS_PER_TOKEN = 600;

function imageTokens(pixels: number): number {
  return Math.min(IMAGE_TOKENS, Math.ceil(pixels / PIXELS_PER_TOKEN));
}

/** About how many tokens a model is asked with. */
export function tokensOf(messages: readonly ModelMessage[]): number {
  return messages.reduce((sum, message) => sum + weigh(message), 0);
}

/**
 * The messages without the oldest, so that about `max_tokens` are left: from one that a user said on, so that no result
 * stands without its call. The system prompt stays, and so does what the last user said with all after it.
 */
export function withinWindow(messages: readonly ModelMessage[], max_tokens: number): readonly ModelMessage[] {
  if (tokensOf(messages) <= max_tokens) return messages;
  const prompt = messages[0]?.role === "system" ? messages.slice(0, 1) : [];
  const said = messages.slice(prompt.length);
  let left = tokensOf(prompt) + tokensOf(said);
  let from = 0;
  for (const [at, message] of said.entries()) {
    if (message.role === "user") from = at;
    if (message.role === "user" && left <= max_tokens) break;
    left -= weigh(message);
  }
  return [...prompt, ...said.slice(from)];
}

function weigh(message: ModelMessage): number {
  const calls = message.role === "assistant" ? (message.tool_calls ?? []) : [];
  const images = message.role === "user" ? (message.images ?? []) : [];
  const seen = images.reduce((sum, { width, height }) => sum + imageTokens(width * height), 0);
  const bytes = calls.reduce(
    (sum, call) => sum + lengthUtf8(call.arguments + (call.extra ?? "")),
    lengthUtf8(message.content),
  );
  return MESSAGE_TOKENS + Math.ceil(bytes / TOKEN_BYTES) + seen;
}
