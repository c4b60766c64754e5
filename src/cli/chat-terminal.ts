import { createInterface } from "node:readline";
import type { Client } from "../client/client.ts";
import { judge } from "./chat-answer.ts";
import type { Conversation, Show } from "./conversation.ts";
import { EXIT } from "./exit.ts";
import { explain } from "./explain.ts";
import type { Io } from "./io.ts";
import { dim } from "./style.ts";

/** Messages of an older conversation that are shown again. */
const RECALLED = 6;

/** Reads messages line by line until the person leaves. */
export async function chatInTerminal(conversation: Conversation, client: Client, io: Io): Promise<number> {
  const terminal = createInterface({ input: process.stdin, output: process.stdout, prompt: "> " });
  const leaving = new AbortController();
  const lines: string[] = [];
  let wake: () => void = () => undefined;
  let answering = false;
  let stopped = false;

  terminal.on("line", (line) => {
    lines.push(line);
    wake();
  });
  terminal.on("close", () => {
    leaving.abort();
    wake();
  });
  terminal.on("SIGINT", () => {
    if (!answering || stopped) return terminal.close();
    stopped = true;
    conversation.abort().catch((error: Error) => io.err(`agentbus: ${error.message}`));
    return undefined;
  });

  async function nextLine(): Promise<string | null> {
    while (lines.length === 0 && !leaving.signal.aborted) {
      terminal.prompt();
      await new Promise<void>((resolve) => (wake = resolve));
    }
    return leaving.signal.aborted ? null : (lines.shift() ?? null);
  }

  async function answer(message: string): Promise<void> {
    answering = true;
    stopped = false;
    try {
      const done = await conversation.ask(message, showIn(io), leaving.signal);
      io.write("\n\n");
      judge(done, io);
    } catch (error) {
      if (leaving.signal.aborted || client.state === "closed") throw error;
      io.err(`agentbus: ${explain(error)}`);
    } finally {
      answering = false;
    }
  }

  recall(conversation, io);
  try {
    for (let line = await nextLine(); line !== null; line = await nextLine()) {
      if (line.trim() !== "") await answer(line);
    }
  } catch (error) {
    if (!leaving.signal.aborted) throw error;
  } finally {
    terminal.close();
  }
  io.out("");
  return EXIT.ok;
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
