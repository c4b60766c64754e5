import type { Command, Input } from "./args.ts";
import { attachmentText, localFile, uploadFile } from "./attach-file.ts";
import { answerJson, judge } from "./chat-answer.ts";
import type { Attending } from "./chat-approval.ts";
import { askElsewhere, askTyped, attend, automaticOf } from "./chat-approval.ts";
import { tellLosses } from "./chat-losses.ts";
import { TypedInput } from "./chat-input.ts";
import { pipedShow, terminalShow } from "./chat-show.ts";
import { chatInTerminal } from "./chat-terminal.ts";
import type { Conversation, Said } from "./conversation.ts";
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
    'Files go along: agentbus chat --attach notes.md --attach photo.png "what is in them?"; in a conversation: /attach FILE.',
    "In a terminal: /help lists what else can be done; Ctrl-C stops the answer that is being written, a second one leaves; so does Ctrl-D.",
    "An answer that breaks off is written again: stderr says so, what was printed stays; --json prints the whole answer alone.",
    "A call of a tool that needs to be allowed is asked for in a terminal; elsewhere stderr says which command answers it.",
  ].join("\n"),
  args: [0, 1],
  options: {
    session: { value: "ID", short: "s", summary: "the session to go on with; made where there is none" },
    json: { summary: "the whole answer as one JSON object, at the end" },
    approve: {
      value: "allow|deny",
      summary: "answer every call that waits, unseen; allow lets the model do whatever its tools can",
    },
    attach: { value: "FILE", many: true, summary: "an image or a text file that goes with the message" },
    ...TARGET_OPTIONS,
  },
  run: async (input, io) => {
    const automatic = automaticOf(input);
    const files = input.texts("attach").map((path) => localFile(path, io));
    const message = await messageOf(input, io, files.length > 0);
    let last: Promise<unknown> = Promise.resolve();
    const asked = (answer: Promise<Response>): void => void (last = answer);
    const client = await connectTo(findTarget(input, io), { client_name: "agentbus chat", asked });
    try {
      const attachments = await Promise.all(files.map((file) => uploadFile(client, file)));
      const stop = tellLosses(client, quietly(io));
      const conversation = await openConversation(client, input.text("session"));
      stop();
      if (message === null) return await chatInTerminal(conversation, client, automatic, attachments, io);
      const attending = { client, automatic: () => automatic };
      return await askOnce(conversation, { message, attachments }, attending, input, io);
    } finally {
      client.disconnect();
      // The login that files came in with is given back.
      await last.catch(() => undefined);
    }
  },
};

/** Null: the conversation is typed. */
async function messageOf(input: Input, io: Io, has_files: boolean): Promise<string | null> {
  const given = input.args[0];
  if (given === undefined && io.stdin.isTTY === true) {
    if (input.on("json"))
      throw new UsageError("chat --json needs a message: give it as an argument or pipe it in");
    return null;
  }
  const message = given ?? (await readStdin(io)).replace(/\r?\n$/, "");
  if (message.trim() === "" && !has_files)
    throw new UsageError("chat has nothing to send: the message is empty");
  return message;
}

async function askOnce(
  conversation: Conversation,
  said: Said,
  attending: Pick<Attending, "client" | "automatic">,
  input: Input,
  io: Io,
): Promise<number> {
  const leaving = new AbortController();
  let interrupts = 0;
  const onInterrupt = (): void => {
    if (++interrupts > 1) return leaving.abort();
    // Where the answer cannot be stopped the second Ctrl-C still leaves.
    conversation.abort().catch((error: Error) => io.err(`agentbus: ${error.message}`));
    return undefined;
  };
  let typed: TypedInput | null = null;
  /** Only once there is something to ask: until then the terminal is not ours. */
  const open = (): TypedInput => {
    if (typed !== null) return typed;
    typed = new TypedInput({ echo: (line) => io.out(line) });
    typed.terminal.on("SIGINT", onInterrupt);
    typed.terminal.on("close", () => leaving.abort());
    return typed;
  };
  process.on("SIGINT", onInterrupt);
  try {
    const json = input.on("json");
    const isTyped = io.tty && io.stdin.isTTY === true && !json;
    const show = isTyped
      ? terminalShow(io, (write) => (typed === null ? write() : typed.beside(write)))
      : pipedShow(io, json);
    const ask = isTyped
      ? askTyped(open, show)
      : askElsewhere(conversation.session_id, targetFlags(input), io);
    attend(conversation, { ...attending, show, ask });
    tellLosses(attending.client, isTyped ? (line) => show.note(line) : quietly(io));
    if (isTyped) for (const attachment of said.attachments) show.note(attachmentText(attachment));
    const answer = await conversation.ask(said, show, leaving.signal);
    show.endLine();
    if (json) outJson(io, answerJson(conversation, answer));
    return judge(answer, io);
  } finally {
    process.off("SIGINT", onInterrupt);
    (typed as TypedInput | null)?.terminal.close();
  }
}

/** To stderr, which does not belong to the answer. */
function quietly(io: Io): (line: string) => void {
  return (line) => io.err(dim(io, line));
}

/** The flags that lead another command to the same gateway. */
function targetFlags(input: Input): string[] {
  return Object.keys(TARGET_OPTIONS).flatMap((name) => {
    const value = input.text(name);
    return value === undefined ? [] : [`--${name}`, value];
  });
}
