import type { Client } from "../client/client.ts";
import type { Attachment } from "../protocol/api/attachment.ts";
import type { Part } from "../protocol/entities.ts";
import type { Place } from "./attach-file.ts";
import { attachmentText } from "./attach-file.ts";
import { Attached, hasExpired, KEPT } from "./attached.ts";
import type { ClientError } from "../client/error.ts";
import { GatewayError } from "../client/error.ts";
import { judge } from "./chat-answer.ts";
import type { Decision } from "./chat-approval.ts";
import { askTyped, attend } from "./chat-approval.ts";
import type { Talk } from "./chat-commands.ts";
import { commandOf, completions } from "./chat-commands.ts";
import { TypedInput } from "./chat-input.ts";
import { tellLosses } from "./chat-losses.ts";
import type { TerminalShow } from "./chat-show.ts";
import { terminalShow } from "./chat-show.ts";
import type { Conversation } from "./conversation.ts";
import { openConversation } from "./conversation.ts";
import { CommandError, EXIT, UsageError } from "./exit.ts";
import { explain } from "./explain.ts";
import type { Io } from "./io.ts";
import { harmless, renderMarkdown } from "./markdown.ts";
import { dim } from "./style.ts";

/** Messages of an older conversation that are shown again. */
const RECALLED = 6;
const COLUMNS = 80;
const EXPIRED =
  "a file waited too long for the message and is gone: /attach it again, then send the message again";

/** Answers line by line until the person leaves. @throws ClientError when the gateway sends us away */
export async function chatInTerminal(
  conversation: Conversation,
  client: Client,
  automatic: Decision | null,
  taken: readonly Attachment[],
  io: Io,
): Promise<number> {
  const typed: TypedInput = new TypedInput({
    echo: (line) => show.line(line),
    onLine: (line) => room.take(line),
    complete: (line) => completions(line, io),
  });
  const { terminal } = typed;
  const show = terminalShow(io, (write) => typed.beside(write));
  const room = new Room(conversation, { client, typed, show, io, automatic, taken });
  let sent_away: ClientError | undefined;
  const untold = tellLosses(client, (line) => show.note(line));
  const unheard = client.on("state", ({ state, error }) => {
    if (state !== "closed") return;
    sent_away = error;
    terminal.close();
  });
  terminal.on("SIGINT", () => room.interrupt());
  try {
    await new Promise<void>((resolve) => terminal.on("close", resolve));
  } finally {
    room.leave();
    untold();
    unheard();
  }
  io.out("");
  if (sent_away !== undefined) throw sent_away;
  return EXIT.ok;
}

interface RoomDeps {
  readonly client: Client;
  readonly typed: TypedInput;
  readonly show: TerminalShow;
  readonly io: Io;
  readonly automatic: Decision | null;
  /** What goes with the first message. */
  readonly taken: readonly Attachment[];
}

/** What is said once the answer before it has ended. */
interface Waiting {
  readonly message: string;
  readonly attached: Promise<readonly Attachment[]>;
}

/** The session that is talked in, what waits to be said, and what is being answered. */
class Room implements Talk {
  readonly client: Client;
  automatic: Decision | null;
  readonly #deps: RoomDeps;
  readonly #leaving = new AbortController();
  readonly attached: Attached;
  readonly #waiting: Waiting[] = [];
  #conversation: Conversation;
  /** The answer that is being written: whether it was asked to stop. */
  #answer: { stopped: boolean } | null = null;

  constructor(conversation: Conversation, deps: RoomDeps) {
    this.#deps = deps;
    this.client = deps.client;
    this.automatic = deps.automatic;
    this.attached = new Attached(deps.client, deps.taken, this.#leaving.signal);
    this.#conversation = conversation;
    this.#enter(conversation);
    if (deps.taken.length > 0)
      this.tell([`with the first message: ${deps.taken.map(attachmentText).join("; ")}`]);
  }

  get place(): Place {
    return this.#deps.io;
  }

  get conversation(): Conversation {
    return this.#conversation;
  }

  get isAnswering(): boolean {
    return this.#answer !== null;
  }

  /** What was typed: a command, or a message. */
  take(line: string): void {
    if (line.trim() === "") return;
    try {
      const found = commandOf(line);
      if (found === null) return this.say(line);
      this.attempt(found.command.run(found.rest, this));
    } catch (error) {
      this.#fail(error);
    }
    return undefined;
  }

  /** The first stops the answer, the next one leaves. */
  interrupt(): void {
    const answer = this.#answer;
    if (answer === null || answer.stopped) return this.leave();
    answer.stopped = true;
    this.#waiting.length = 0;
    this.#conversation.abort().catch((error: unknown) => this.#fail(error));
    return undefined;
  }

  leave(): void {
    this.#leaving.abort();
    this.#deps.show.endLine();
    this.#deps.typed.terminal.close();
  }

  attempt(what: Promise<void>): void {
    what.catch((error: unknown) => this.#fail(error));
  }

  readonly tell = (lines: readonly string[]): void => {
    for (const line of lines) this.#deps.show.line(dim(this.#deps.io, line));
  };

  ask(question: Parameters<TypedInput["ask"]>[0]): void {
    this.#deps.typed.ask(question);
  }

  async switchTo(session_id: string | undefined): Promise<void> {
    if (this.#answer !== null)
      throw new UsageError("an answer is being written: wait for its end, or stop it with /abort");
    const next = await openConversation(this.client, session_id);
    if (this.#answer !== null) return next.close();
    this.#conversation.close();
    this.#conversation = next;
    this.#enter(next);
  }

  #enter(conversation: Conversation): void {
    const { client, show, typed, io } = this.#deps;
    recall(conversation, (line) => show.line(dim(io, line)));
    const automatic = (): Decision | null => this.automatic;
    attend(conversation, { client, automatic, show, ask: askTyped(() => typed, show) });
  }

  say(message: string): void {
    const attached = this.attached.take();
    // Whoever named the file is told.
    attached.catch(() => undefined);
    this.#waiting.push({ message, attached });
    if (this.#answer === null) return void this.#sayAll();
    return this.#deps.show.note("sent when this answer has ended; /steer TEXT tells it now");
  }

  async #sayAll(): Promise<void> {
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
      const answer = { stopped: false };
      this.#answer = answer;
      await this.#showAnswer(next, answer);
      this.#answer = null;
    }
  }

  /** An answer that cannot be had is told; the conversation goes on. */
  async #showAnswer({ message, attached }: Waiting, asked: { readonly stopped: boolean }): Promise<void> {
    const { show, io } = this.#deps;
    const { signal } = this.#leaving;
    let attachments: readonly Attachment[] | null = [];
    try {
      show.wait();
      attachments = await attached.catch(() => null);
      if (attachments === null)
        throw new CommandError(
          "the message was not sent, because a file that belongs to it was not attached",
        );
      if (asked.stopped) {
        show.endLine();
        if (this.attached.putBack(attachments, null)) this.tell([KEPT]);
        return;
      }
      for (const attachment of attachments) show.note(attachmentText(attachment));
      const answer = await this.#conversation.ask({ message, attachments }, show, signal);
      show.endLine();
      show.line("");
      judge(answer, { ...io, err: (line) => show.line(line) });
    } catch (error) {
      show.endLine();
      if (signal.aborted) return;
      this.#fail(hasExpired(error) ? new CommandError(EXPIRED) : error);
      if (isRefused(error) && this.attached.putBack(attachments ?? [], error)) this.tell([KEPT]);
    }
  }

  #fail(error: unknown): void {
    this.#deps.show.line(`agentbus: ${explain(error)}`);
  }
}

function recall({ session_id, transcript }: Conversation, out: (line: string) => void): void {
  out(
    `session ${session_id}: agentbus chat --session ${session_id} comes back to it; /help lists what can be done`,
  );
  const spoken = [...transcript.messages.values()].filter(
    ({ role, content, parts }) =>
      (role === "user" || role === "assistant") && (content !== "" || parts.some(isAttachment)),
  );
  for (const { role, content, parts } of spoken.slice(-RECALLED)) {
    const columns = (process.stdout.columns || COLUMNS) - 1;
    const said =
      role === "user" ? harmless(`> ${content}`).split("\n") : renderMarkdown(content, { columns });
    for (const line of said) out(line);
    for (const part of parts.filter(isAttachment)) out(`[${attachmentText(part)}]`);
  }
}

/** Whether the gateway took nothing of it. */
function isRefused(error: unknown): boolean {
  return error instanceof GatewayError && error.code !== "TIMEOUT";
}

function isAttachment(part: Part): part is Extract<Part, { readonly attachment_id: string }> {
  return "attachment_id" in part;
}
