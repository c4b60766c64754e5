import { script } from "../support/model-script.ts";
import type { Stack } from "./stack.ts";

/** A tool whose calls ask first. */
export const TOOLS_CONFIG = { builtin: ["time"], policy: { "*": "ask" } };

const WHAT_TIME = "what time is it?";

/** Sends a message that the model answers with a call of the tool `time`, and waits until it asks. */
export async function askForTool(
  stack: Stack,
  session_id: string,
): Promise<{ session_id: string; approval_id: string }> {
  // By what it is asked: other runs may ask in between.
  stack.model.otherwise(({ body }) => {
    const { role, content } = body.messages.at(-1);
    return role === "user" && content === WHAT_TIME ? script().tool("time", {}) : script().tokens(20);
  });
  const sent = await stack.owner.call("chat.send", { session_id, message: WHAT_TIME });
  const after = `${sent.epoch}.${sent.from}`;
  const stream = await stack.owner.events(`/api/v1/sessions/${session_id}/events?after=${after}`);
  const { data } = await stream.next(({ event }) => event === "tool.approval_requested");
  stream.close();
  return { session_id, approval_id: JSON.parse(data).payload.approval.approval_id };
}
