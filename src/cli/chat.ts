import type { Client } from "../client/client.ts";
import type { Command, Input } from "./args.ts";
import { chatInTerminal } from "./chat-terminal.ts";
import { answerJson, contentOf, judge } from "./chat-answer.ts";
import type { Conversation, Show } from "./conversation.ts";
import { openConversation } from "./conversation.ts";
import { UsageError } from "./exit.ts";
import type { Io } from "./io.ts";
import { outJson, readStdin } from "./io.ts";
import { dim } from "./style.ts";
import { TARGET_OPTIONS, connectTo, findTarget } from "./target.ts";

export const chat: Command = {
  name: "chat",
  summary: "talk to the model; resumes after drops and restarts",
  usage: "[MESSAGE]",
  details: [
    "With a MESSAGE, or with one piped in, sends it, prints the answer as it is written and ends.",
    "In a terminal: Ctrl-C stops the answer that is being written, a second one leaves; so does Ctrl-D.",
  ].join("\n"),
  args: [0, 1],
  options: {
    session: { value: "ID", short: "s", summary: "the session to go on with; made where there is none" },
    json: { summary: "the whole answer as one JSON object, at the end" },
    ...TARGET_OPTIONS,
  },
  run: async (input, io) => {
    const message = await messageOf(input, io);
    const client = await connectTo(findTarget(input, io), { client_name: "agentbus chat" });
    const stop = tellLosses(client, io);
    try {
      const conversation = await openConversation(client, input.text("session"));
      if (message === null) return await chatInTerminal(conversation, client, io);
      return await askOnce(conversation, message, input.on("json"), io);
    } finally {
      stop();
      client.disconnect();
    }
  },
};

/** Null: the conversation is typed. */
async function messageOf(input: Input, io: Io): Promise<string | null> {
  const given = input.args[0];
  if (given === undefined && io.stdin.isTTY === true) {
    if (input.on("json"))
      throw new UsageError("chat --json needs a message: give it as an argument or pipe it in");
    return null;
  }
  const message = given ?? (await readStdin(io)).replace(/\r?\n$/, "");
  if (message.trim() === "") throw new UsageError("chat has nothing to send: the message is empty");
  return message;
}

function tellLosses(client: Client, io: Io): () => void {
  let lost = false;
  return client.on("state", ({ state, error }) => {
    if (state === "reconnecting" && !lost)
      io.err(dim(io, `connection lost (${error?.message}); trying again`));
    if (state === "connected" && lost) io.err(dim(io, "connected again"));
    lost = state === "reconnecting";
  });
}

async function askOnce(conversation: Conversation, message: string, json: boolean, io: Io): Promise<number> {
  const leaving = new AbortController();
  let interrupts = 0;
  const onInterrupt = (): void => {
    if (++interrupts > 1) return leaving.abort();
    // Where the answer cannot be stopped the second Ctrl-C still leaves.
    conversation.abort().catch((error: Error) => io.err(`agentbus: ${error.message}`));
    return undefined;
  };
  process.on("SIGINT", onInterrupt);
  try {
    const show: Show = {
      text: (text) => json || io.write(text),
      reasoning: () => undefined,
      note: (line) => io.err(dim(io, line)),
    };
    const answer = await conversation.ask(message, show, leaving.signal);
    if (json) outJson(io, answerJson(conversation, answer));
    else if (contentOf(answer) !== "" && !contentOf(answer).endsWith("\n")) io.write("\n");
    return judge(answer, io);
  } finally {
    process.off("SIGINT", onInterrupt);
  }
}
