import type { EventMessage, Part } from "../protocol/entities.ts";
import type { DurablePayload } from "../protocol/events.ts";

/** A message while it is written: as it is stored, with the seq of the event that made it. */
export interface OpenMessage {
  readonly seq: number;
  readonly message: EventMessage & { parts: Part[] };
}

/** What message.started makes: an empty message that is being written. */
export function startMessage(
  payload: DurablePayload<"message.started">,
  at: { ts: number; run_id: string | null },
): EventMessage & { parts: Part[] } {
  return {
    message_id: payload.message_id,
    role: payload.role,
    status: "streaming",
    content: "",
    parts: [],
    ...(at.run_id !== null && { run_id: at.run_id }),
    model: payload.model,
    timestamp: at.ts,
    metadata: {},
  };
}

/** What tool.result makes: a message of role tool, complete. */
export function toolMessage(
  payload: DurablePayload<"tool.result">,
  at: { ts: number; run_id: string | null },
): EventMessage {
  return {
    message_id: payload.message_id,
    role: "tool",
    status: "complete",
    content: payload.content,
    parts: [
      {
        type: "tool_result",
        tool_call_id: payload.tool_call_id,
        ok: payload.ok,
        ...(payload.truncated !== undefined && { truncated: payload.truncated }),
      },
    ],
    ...(at.run_id !== null && { run_id: at.run_id }),
    timestamp: at.ts,
    metadata: {},
  };
}

/** Appends a delta in place. "gap": text before it is missing, so the reader has to subscribe again. */
export function applyDelta(
  message: { parts?: Part[] },
  delta: DurablePayload<"message.delta">,
): "ok" | "gap" {
  const parts = (message.parts ??= []);
  const part = parts[delta.part];
  if (part === undefined) {
    if (delta.part !== parts.length || delta.off !== 0) return "gap";
    parts.push({ type: delta.kind, text: delta.text });
    return "ok";
  }
  if (part.type !== "text" && part.type !== "reasoning") return "gap";
  if (delta.off > part.text.length) return "gap";
  const known = part.text.length - delta.off;
  // Text the reader already has comes again after a resume from inside it.
  part.text += known === 0 ? delta.text : delta.text.slice(known);
  return "ok";
}

/** Adds a tool call as the next part. */
export function applyToolCall(message: { parts?: Part[] }, call: DurablePayload<"tool.call">): void {
  const parts = (message.parts ??= []);
  if (parts.some((part) => part.type === "tool_call" && part.tool_call_id === call.tool_call_id)) return;
  parts.push({
    type: "tool_call",
    tool_call_id: call.tool_call_id,
    name: call.name,
    arguments: call.arguments,
    ...(call.extra !== undefined && { extra: call.extra }),
  });
}

/** `content` of a message: its text parts joined. */
export function contentOf(parts: readonly Part[]): string {
  let content = "";
  for (const part of parts) if (part.type === "text") content += part.text;
  return content;
}

/** The message as a reader sees it now: `content` derived, parts copied. */
export function viewOf(message: EventMessage): EventMessage {
  if (message.status !== "streaming") return message;
  const parts = (message.parts ?? []).map((part) => ({ ...part }));
  return { ...message, content: contentOf(parts), parts };
}
