import type { ModelEvent, ModelMessage, ToolCall } from "../core/ports.ts";

/** The first models that refuse a call of their own without the signature they gave it, by all of their names. */
const SIGNS = /^(?:models\/)?gemini-(?:[3-9]|\d\d)/;
/** What such a model takes in place of one, for a call that another model made. */
const FOREIGN = JSON.stringify({ google: { thought_signature: "skip_thought_signature_validator" } });

/** Marks what the server wants back with a call as this provider's: no other can read it, and some refuse it. */
export function marked(event: ModelEvent, provider: string): ModelEvent {
  if (event.type !== "tool_call" || event.call.extra === undefined) return event;
  const extra = JSON.stringify({ provider, extra: event.call.extra });
  return { type: "tool_call", call: { ...event.call, extra } };
}

/** A message with what this provider wants back with its calls, and nothing of another's. */
export function returned(message: ModelMessage, provider: string, model: string): ModelMessage {
  if (message.role !== "assistant" || message.tool_calls === undefined) return message;
  const tool_calls = message.tool_calls.map((call, at): ToolCall => {
    const { extra: kept, ...bare } = call;
    // Of calls that are made together only the first is signed.
    const extra = extraFor(kept, provider) ?? (at === 0 && SIGNS.test(model) ? FOREIGN : undefined);
    return extra === undefined ? bare : { ...bare, extra };
  });
  return { ...message, tool_calls };
}

function extraFor(kept: string | undefined, provider: string): string | undefined {
  if (kept === undefined) return undefined;
  try {
    const { provider: of, extra } = JSON.parse(kept) as { provider?: unknown; extra?: unknown };
    return of === provider && typeof extra === "string" ? extra : undefined;
  } catch {
    // Of a provider that keeps something in a way of its own.
    return undefined;
  }
}
