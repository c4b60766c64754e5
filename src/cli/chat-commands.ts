import type { Client } from "../client/client.ts";
import { closest } from "../config/closest.ts";
import type { Session } from "../protocol/entities.ts";
import type { Question } from "./chat-input.ts";
import type { Conversation } from "./conversation.ts";
import type { Decision } from "./chat-approval.ts";
import type { Place } from "./attach-file.ts";
import type { Attached } from "./attached.ts";
import { KEPT } from "./attached.ts";
import { since } from "./ago.ts";
import { attach, pathCompletions } from "./chat-attach.ts";
import { UsageError } from "./exit.ts";
import { table, visible } from "./table.ts";

/** What a command of the conversation may do. */
export interface Talk {
  readonly client: Client;
  readonly conversation: Conversation;
  /** The answer to every call that waits; null: a person is asked. */
  automatic: Decision | null;
  /** What goes with the next message. */
  readonly attached: Attached;
  /** Where paths that are typed begin. */
  readonly place: Place;
  /** Lines beside the conversation. */
  readonly tell: (lines: readonly string[]) => void;
  ask(question: Question): void;
  /** Goes on in another session, a new one where none is named. @throws ClientError */
  switchTo(session_id: string | undefined): Promise<void>;
  /** An answer is being written. */
  readonly isAnswering: boolean;
  /** Sends a message, once what is being answered has ended. */
  say(message: string): void;
  leave(): void;
  /** Tells what went wrong, if anything does. */
  attempt(what: Promise<void>): void;
}

interface ChatCommand {
  readonly name: string;
  readonly usage: string;
  readonly summary: string;
  /** `rest`: what was typed behind the name. @throws ClientError, UsageError */
  readonly run: (rest: string, talk: Talk) => Promise<void>;
}

/** Sessions a picker offers. */
const OFFERED = 15;

export const CHAT_COMMANDS: readonly ChatCommand[] = [
  { name: "help", usage: "", summary: "these commands", run: async (_, talk) => talk.tell(help()) },
  { name: "model", usage: "[NAME]", summary: "the model of this session, or another one", run: model },
  {
    name: "abort",
    usage: "",
    summary: "stop what is being written",
    run: (_, { conversation }) => conversation.abort(),
  },
  {
    name: "steer",
    usage: "TEXT",
    summary: "tell it something while it answers, with what is attached",
    run: steer,
  },
  {
    name: "attach",
    usage: "[FILE…|none]",
    summary: "images and text files for the next message; alone: what waits",
    run: attach,
  },
  {
    name: "new",
    usage: "[ID]",
    summary: "another, empty session",
    run: (id, talk) => talk.switchTo(id || undefined),
  },
  { name: "sessions", usage: "[WORDS]", summary: "go on with another session", run: sessions },
  { name: "fork", usage: "", summary: "a copy of this session, to go on in another direction", run: fork },
  { name: "rename", usage: "TITLE", summary: "give this session a title", run: rename },
  { name: "tools", usage: "", summary: "what the model may call", run: tools },
  {
    name: "approve",
    usage: "[ask|allow|deny]",
    summary: "how calls that wait are answered here",
    run: approve,
  },
  { name: "quit", usage: "", summary: "leave; so does Ctrl-D", run: async (_, talk) => talk.leave() },
];

/** The command a line is, with what stands behind its name; null: a message. @throws UsageError that says what was probably meant */
export function commandOf(line: string): { command: ChatCommand; rest: string } | null {
  const [, name = "", rest = ""] = /^\/([a-z]+)(?:\s+([\s\S]*))?$/.exec(line.trim()) ?? [];
  if (name === "") return null;
  const command = CHAT_COMMANDS.find((each) => each.name === name);
  if (command !== undefined) return { command, rest: rest.trim() };
  const near = closest(
    name,
    CHAT_COMMANDS.map((each) => each.name),
  );
  if (near === null) return null;
  throw new UsageError(
    `there is no /${name}; did you mean /${near}? To send it as a message begin with a space`,
  );
}

/** What a line that begins with a slash may become. */
export function completions(line: string, place: Place): string[] {
  if (!line.startsWith("/")) return [];
  if (line.includes(" ")) return pathCompletions(line, place);
  return CHAT_COMMANDS.map(({ name }) => `/${name}`).filter((name) => name.startsWith(line));
}

function help(): string[] {
  const rows = CHAT_COMMANDS.map(({ name, usage, summary }) => [`/${name} ${usage}`.trimEnd(), summary]);
  return table(["command", ""], rows).slice(1);
}

async function model(name: string, talk: Talk): Promise<void> {
  const { client, conversation } = talk;
  const { session_id } = conversation;
  if (name !== "") {
    const session = await client.request("session.update", { session_id, model: name });
    return talk.tell([`the next answer comes from ${visible(session.model ?? name)}`]);
  }
  const [known, session] = await Promise.all([
    client.request("model.list", {}),
    client.request("session.get", { session_id }),
  ]);
  const current = session.model ?? known.default;
  const names = [...new Set([current, ...known.models.map(({ id }) => id)])].toSorted();
  return talk.tell(names.map((each) => `${each === current ? "* " : "  "}${visible(each)}`));
}

async function steer(text: string, talk: Talk): Promise<void> {
  if (text === "") throw new UsageError("/steer needs what it is to be told: /steer shorter, please");
  if (!talk.isAnswering) return talk.say(text);
  const attachments = await talk.attached.take();
  try {
    const isSteered = await talk.conversation.steer({ message: text, attachments });
    talk.tell([isSteered ? "told" : "that came too late for this answer, so it gets one of its own"]);
  } catch (error) {
    if (talk.attached.putBack(attachments, error)) talk.tell([KEPT]);
    throw error;
  }
}

async function sessions(query: string, talk: Talk): Promise<void> {
  const params = { limit: OFFERED, archived: false, ...(query !== "" && { query }) };
  const { sessions: found } = await talk.client.request("session.list", params);
  const others = found.filter(({ session_id }) => session_id !== talk.conversation.session_id);
  if (others.length === 0)
    return talk.tell([query === "" ? "there is no other session" : "no session is called that"]);
  const rows = others.map((session, index) => [String(index + 1), ...sessionRow(session)]);
  talk.tell(table(["", "title", "session", "messages", "changed"], rows));
  talk.ask({
    prompt: `go on with (1-${others.length}, Enter: stay): `,
    introduce: () => undefined,
    take(line) {
      const picked = others[Number(line.trim()) - 1];
      if (picked !== undefined) talk.attempt(talk.switchTo(picked.session_id));
      return picked !== undefined || line.trim() === "";
    },
  });
}

function sessionRow({ title, session_id, message_count, updated_at }: Session): string[] {
  return [title === "" ? "-" : title, session_id, String(message_count), since(Date.now() - updated_at)];
}

async function fork(_rest: string, talk: Talk): Promise<void> {
  const { session_id } = talk.conversation;
  const copy = await talk.client.request("session.fork", {
    session_id,
    idempotency_key: crypto.randomUUID(),
  });
  await talk.switchTo(copy.session_id);
}

async function rename(title: string, talk: Talk): Promise<void> {
  if (title === "") throw new UsageError("/rename needs a title: /rename Plans for May");
  const { session_id } = talk.conversation;
  await talk.client.request("session.update", { session_id, title });
  talk.tell([`this session is called ${visible(title)}`]);
}

async function tools(_rest: string, talk: Talk): Promise<void> {
  const { tools: known, servers } = await talk.client.request("tool.list", {});
  const rows = known.map(({ name, policy, source, description }) => [
    name,
    policy,
    source,
    firstLine(description),
  ]);
  const down = servers.filter(({ state }) => state !== "ready");
  talk.tell([
    ...(rows.length === 0 ? ["the model may call no tools"] : table(["tool", "policy", "from", ""], rows)),
    ...down.map(({ name, state, reason }) =>
      visible(`${name}: ${state}${reason === undefined ? "" : `: ${reason}`}`),
    ),
  ]);
}

async function approve(how: string, talk: Talk): Promise<void> {
  if (how === "allow" || how === "deny") talk.automatic = how;
  else if (how === "ask") talk.automatic = null;
  else if (how !== "") throw new UsageError(`/approve takes ask, allow or deny, not "${how}"`);
  const told = { allow: "are allowed, unseen", deny: "are denied" };
  talk.tell([`calls that wait ${talk.automatic === null ? "are asked for here" : told[talk.automatic]}`]);
}

function firstLine(text: string): string {
  return text.trim().split("\n", 1)[0] ?? "";
}
