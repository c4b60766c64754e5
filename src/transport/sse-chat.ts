import type { Frame } from "../core/hub.ts";
import type { Message, Part, Run } from "../protocol/entities.ts";
import type { ErrorCode } from "../protocol/errors.ts";
import { ERRORS, GatewayError } from "../protocol/errors.ts";
import type { EventFrame } from "../protocol/frames.ts";
import { hasEnded } from "./sse-run.ts";

/** The frames of a one-shot stream. They have no event name, so that `onmessage` of an EventSource gets them. */
export type ChatFrame =
  | { readonly type: "token"; readonly content: string }
  /** The answer broke off and is written again: the last `length` UTF-16 code units of it count for nothing. */
  | { readonly type: "discard"; readonly length: number }
  | {
      readonly type: "tool_start";
      readonly tool_call_id: string;
      readonly name: string;
      readonly arguments: string;
    }
  | { readonly type: "tool_complete"; readonly tool_call_id: string; readonly content: string }
  | { readonly type: "tool_error"; readonly tool_call_id: string; readonly message: string }
  | { readonly type: "complete"; readonly usage: Run["usage"] | null }
  | {
      readonly type: "error";
      readonly message: string;
      readonly code: string;
      readonly status: Run["status"];
    };

/** A frame as an event; `id` where a reconnect may continue after it. */
export function chatText(frame: ChatFrame, id: string | null): string {
  return `${id === null ? "" : `id: ${id}\n`}data: ${JSON.stringify(frame)}\n\n`;
}

/** Makes the events of one run from the session's frames; null for a frame that says nothing of it. */
export function chatTranslator(run_id: string): (frame: Frame) => string | null {
  const mark = `"run_id":"${run_id}"`;
  /** A summary that goes before the answer: it is none of the answer's words. */
  let summary: unknown = null;
  return (frame) => {
    if (frame.seq === null || !frame.text.includes(mark)) return null;
    const event = JSON.parse(frame.text) as EventFrame;
    const { payload } = event;
    if (event.event === "message.started" && payload["role"] === "system") summary = payload["message_id"];
    if (payload["message_id"] === summary && summary !== null) return null;
    const made = event.run_id === run_id ? frameOf(event) : null;
    return made === null ? null : chatText(made, `${frame.epoch}.${frame.seq}`);
  };
}

function frameOf({ event, payload }: EventFrame): ChatFrame | null {
  switch (event) {
    case "message.delta":
      return payload["kind"] === "text" ? { type: "token", content: String(payload["text"]) } : null;
    case "message.discarded": {
      const length = Number(payload["length"] ?? 0);
      return length > 0 ? { type: "discard", length } : null;
    }
    case "tool.call":
      return {
        type: "tool_start",
        tool_call_id: String(payload["tool_call_id"]),
        name: String(payload["name"]),
        arguments: String(payload["arguments"]),
      };
    case "tool.result":
      return toolEnd(String(payload["tool_call_id"]), payload["ok"] === true, String(payload["content"]));
    case "run.completed":
    case "run.failed":
    case "run.aborted":
    case "run.interrupted":
      return endFrame(payload["run"] as Run);
    default:
      return null;
  }
}

function toolEnd(tool_call_id: string, ok: boolean, content: string): ChatFrame {
  return ok
    ? { type: "tool_complete", tool_call_id, content }
    : { type: "tool_error", tool_call_id, message: content };
}

/** How a run that has ended is told. */
export function endFrame(run: Pick<Run, "status" | "error" | "usage" | "reason">): ChatFrame {
  if (run.status === "completed") return { type: "complete", usage: run.usage ?? null };
  const { code, message } = endError(run).toBody();
  return { type: "error", message, code, status: run.status };
}

/** Why a run did not complete, as an answer to who asked for it. */
export function endError(run: Pick<Run, "status" | "error" | "reason">): GatewayError {
  const { error, status, reason } = run;
  const details = { kind: "run", status };
  if (error !== undefined) {
    const code = Object.hasOwn(ERRORS, error.code) ? (error.code as ErrorCode) : "UPSTREAM_ERROR";
    return new GatewayError(code, error.message, {
      details: { ...error.details, ...details },
      retryable: error.retryable,
    });
  }
  if (status === "interrupted") {
    return new GatewayError(
      "UNAVAILABLE",
      `the gateway stopped under the run (${reason ?? "restart"}): send it again`,
      {
        details,
      },
    );
  }
  return new GatewayError("CONFLICT", "the run was aborted", { details });
}

/** The text of a run that has ended and whose events are trimmed: one token per message, the id on the last event. */
export function replayText(run: Run, messages: readonly Message[], id: string): string {
  const frames = messages.flatMap((message) => framesOf(message));
  const end = hasEnded(run) ? chatText(endFrame(run), id) : "";
  return frames.map((frame) => chatText(frame, null)).join("") + end;
}

function framesOf(message: Message): ChatFrame[] {
  const parts = message.parts ?? [];
  if (message.role === "tool") {
    const [result] = parts;
    return result?.type === "tool_result" ? [toolEnd(result.tool_call_id, result.ok, message.content)] : [];
  }
  if (message.role !== "assistant") return [];
  const token: ChatFrame[] = message.content === "" ? [] : [{ type: "token", content: message.content }];
  return [...token, ...parts.flatMap((part) => callFrame(part))];
}

function callFrame(part: Part): ChatFrame[] {
  if (part.type !== "tool_call") return [];
  const { tool_call_id, name } = part;
  return [{ type: "tool_start", tool_call_id, name, arguments: part.arguments }];
}
