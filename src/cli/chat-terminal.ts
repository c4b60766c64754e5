import { createInterface } from "node:readline";
import type { Interface } from "node:readline";
import type { Client } from "../client/client.ts";
import type { ClientError } from "../client/error.ts";
import { judge } from "./chat-answer.ts";
import type { Conversation, Show } from "./conversation.ts";
import { EXIT } from "./exit.ts";
import { explain } from "./explain.ts";
import type { Io } from "./io.ts";
import { dim } from "./style.ts";

/** Messages of an older conversation that are shown again. */
const RECALLED = 6;

/** Answers line by line until the person leaves. @throws ClientError when the gateway sends us away */
export async function chatInTerminal(conversation: Conversation, client: Client, io: Io): Promise<number> {
  const terminal = createInterface({ input: process.stdin, output: process.stdout, prompt: "> " });
  const leaving = new AbortController();
  const next = readLines(terminal, leaving.signal);
  let sent_away: ClientError | undefined;
  /** The answer that is being written: whether it was asked to stop. */
  let answer: { stopped: boolean } | null = null;

  const unheard = client.on("state", ({ state, error }) => {
    if (state !== "closed") return;
    sent_away = error;
    terminal.close();
  });
  terminal.on("close", () => leaving.abort());
  terminal.on("SIGINT", () => {
    if (answer === null || answer.stopped) return terminal.close();
    answer.stopped = true;
    conversation.abort().catch((error: Error) => io.err(`agentbus: ${error.message}`));
    return undefined;
  });

  recall(conversation, io);
  try {
    for (let line = await next(); line !== null; line = await next()) {
      if (line.trim() === "") continue;
      answer = { stopped: false };
      await showAnswer(conversation, line, leaving.signal, io);
      answer = null;
    }
  } finally {
    unheard();
    terminal.close();
  }
  io.out("");
  if (sent_away !== undefined) throw sent_away;
  return EXIT.ok;
}

/** The next line that was typed; null: there are no more. */
function readLines(terminal: Interface, left: AbortSignal): () => Promise<string | null> {
  const lines: string[] = [];
  let wake: () => void = () => undefined;
  terminal.on("line", (line) => {
    lines.push(line);
    wake();
  });
  left.addEventListener("abort", () => wake());
  return async () => {
    while (lines.length === 0 && !left.aborted) {
      terminal.prompt();
      await new Promise<void>((resolve) => (wake = resolve));
    }
    return left.aborted ? null : (lines.shift() ?? null);
  };
}

/** An answer that cannot be had is told; the conversation goes on. */
async function showAnswer(
  conversation: Conversation,
  message: string,
  left: AbortSignal,
  io: Io,
): Promise<void> {
  try {
    const answer = await conversation.ask(message, showIn(io), left);
    io.write("\n\n");
    judge(answer, io);
  } catch (error) {
    if (!left.aborted) io.err(`agentbus: ${explain(error)}`);
  }
}

function showIn(io: Io): Show {
  return {
    text: (text) => io.write(text),
    reasoning: (text) => io.write(dim(io, text)),
    note: (line) => io.write(dim(io, `\n[${line}]\n`)),
  };
}

function recall({ session_id, transcript }: Conversation, io: Io): void {
  io.out(dim(io, `session ${session_id}: agentbus chat --session ${session_id} comes back to it`));
  const spoken = [...transcript.messages.values()].filter(
    ({ role }) => role === "user" || role === "assistant",
  );
  for (const { role, content } of spoken.slice(-RECALLED))
    io.out(dim(io, role === "user" ? `> ${content}` : content));
}
