import { expect } from "bun:test";
import { linesOf, SUMMARY_PROMPT } from "../../src/core/summary.ts";
import type { Stack } from "./stack.ts";
import { ended, say } from "./stack.ts";

interface Said {
  readonly role: string;
  readonly content: string;
}

/** What a model is shown before a summary. */
export const RECALL = "user:What have we said so far? Answer with a summary.";

export const NOTHING = {
  code: "CONFLICT",
  details: { kind: "state" },
  message: "nothing was said since the last summary: there is nothing to compact",
  retryable: false,
};

/** A question and its answer. */
export async function turn(
  { model, owner }: Stack,
  session_id: string,
  question: string,
  answer: string,
): Promise<void> {
  model.reply().text(answer);
  await say(owner, { session_id, message: question });
}

/** Compacts and waits for the end; the run. */
// oxlint-disable-next-line typescript/no-explicit-any -- a test looks wherever it likes
export async function compacted({ model, owner }: Stack, session_id: string, summary: string): Promise<any> {
  model.reply().text(summary, { chunks: 3 });
  const { run_id } = await owner.call("session.compact", { session_id });
  return ended(owner, run_id);
}

/** What the model was asked with, the last time or the nth from the end. */
export function asked({ model }: Stack, nth = -1): string[] {
  return said(model.requests.at(nth)?.body.messages);
}

/** What the model was given to summarise, the last time or the nth from the end. */
export function summarised({ model }: Stack, nth = -1): string[] {
  const call = model.requests.at(nth);
  const [system, data, ...more]: Said[] = call?.body.messages ?? [];
  expect([system, more]).toEqual([{ role: "system", content: SUMMARY_PROMPT }, []]);
  return said(linesOf(data?.content ?? ""));
}

export async function history(
  { owner }: Stack,
  session_id: string,
): Promise<(Said & { readonly message_id: string })[]> {
  return (await owner.call("chat.history", { session_id })).messages;
}

/** Role and content of each. */
export function said(messages: readonly Pick<Said, "role" | "content">[]): string[] {
  return messages.map(({ role, content }) => `${role}:${content}`);
}
