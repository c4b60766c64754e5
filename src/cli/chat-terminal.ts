import type { Client } from "../client/client.ts";
import type { ClientError } from "../client/error.ts";
import type { Show } from "./answer-show.ts";
import { judge } from "./chat-answer.ts";
import type { Attending } from "./chat-approval.ts";
import { askTyped, attend } from "./chat-approval.ts";
import { tellLosses } from "./chat-losses.ts";
import { TypedInput } from "./chat-input.ts";
import { terminalShow } from "./chat-show.ts";
import type { Conversation } from "./conversation.ts";
import { EXIT } from "./exit.ts";
import { explain } from "./explain.ts";
import type { Io } from "./io.ts";
import { dim } from "./style.ts";

/** Messages of an older conversation that are shown again. */
const RECALLED = 6;

/** Answers line by line until the person leaves. @throws ClientError when the gateway sends us away */
export async function chatInTerminal(
  conversation: Conversation,
  client: Client,
  automatic: Attending["automatic"],
  io: Io,
): Promise<number> {
  const typed = new TypedInput();
  const { terminal } = typed;
  const show = terminalShow(io, (write) => typed.beside(write));
  const leaving = new AbortController();
  let sent_away: ClientError | undefined;
  /** The answer that is being written: whether it was asked to stop. */
  let answer: { stopped: boolean } | null = null;

  const untold = tellLosses(client, (line) => show.note(line));
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
  attend(conversation, { client, automatic, show, ask: askTyped(() => typed, show) });
  try {
    for (let line = await typed.next(); line !== null; line = await typed.next()) {
      if (line.trim() === "") continue;
      answer = { stopped: false };
      await showAnswer(conversation, line, show, leaving.signal, io);
      answer = null;
    }
  } finally {
    untold();
    unheard();
    terminal.close();
  }
  io.out("");
  if (sent_away !== undefined) throw sent_away;
  return EXIT.ok;
}

/** An answer that cannot be had is told; the conversation goes on. */
async function showAnswer(
  conversation: Conversation,
  message: string,
  show: Show & { endLine(): void },
  left: AbortSignal,
  io: Io,
): Promise<void> {
  try {
    const answer = await conversation.ask(message, show, left);
    show.endLine();
    io.out("");
    judge(answer, io);
  } catch (error) {
    show.endLine();
    if (!left.aborted) io.err(`agentbus: ${explain(error)}`);
  }
}

function recall({ session_id, transcript }: Conversation, io: Io): void {
  io.out(dim(io, `session ${session_id}: agentbus chat --session ${session_id} comes back to it`));
  const spoken = [...transcript.messages.values()].filter(
    ({ role, content }) => (role === "user" || role === "assistant") && content !== "",
  );
  for (const { role, content } of spoken.slice(-RECALLED))
    io.out(dim(io, role === "user" ? `> ${content}` : content));
}
