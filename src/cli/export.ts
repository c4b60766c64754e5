import { createHash } from "node:crypto";
import type { Client } from "../client/client.ts";
import type { Message, Session } from "../protocol/entities.ts";
import { VERSION } from "../build.ts";
import type { Command, Input } from "./args.ts";
import { asUser } from "./as-user.ts";
import { counted } from "./counted.ts";
import { EXIT, UsageError } from "./exit.ts";
import { FORMAT, FORMAT_VERSION } from "./export-format.ts";
import type { Io } from "./io.ts";
import { TARGET_OPTIONS, connectTo, findTarget } from "./target.ts";
import type { Target } from "./target.ts";

const PAGE = 1_000;
const LISTED = 200;

export const exportCommand: Command = {
  name: "export",
  summary: "sessions as JSON lines, to be kept or imported elsewhere",
  usage: "[SESSION...]",
  details: [
    "Without a SESSION: all of your own. The format is in docs/data.md. To stdout:",
    "  agentbus export > sessions.jsonl",
  ].join("\n"),
  args: [0, 10_000],
  options: {
    user: { value: "USER", short: "u", summary: "those of another user; takes an administrator" },
    all: { summary: "those of everybody; takes an administrator" },
    ...TARGET_OPTIONS,
  },
  run: async (input, io) => {
    const target = findTarget(input, io);
    const out = writerTo(io);
    await out({
      format: FORMAT,
      version: FORMAT_VERSION,
      exported_at: Date.now(),
      gateway: `agentbus ${VERSION}`,
    });
    let sessions = 0;
    for (const user of await usersOf(input, target)) {
      sessions += await asUser(target, user, options, (client) => exportAll(client, input.args, out, io));
    }
    io.err(`agentbus: ${counted(sessions, "session")}`);
    return EXIT.ok;
  },
};

const options = { client_name: "agentbus export", scopes: ["chat.read" as const] };
type Out = (line: object) => Promise<void>;

/** Null: whoever asks. */
async function usersOf(input: Input, target: Target): Promise<(string | null)[]> {
  const user = input.text("user");
  if (!input.on("all")) return [user ?? null];
  if (user !== undefined || input.args.length > 0)
    throw new UsageError("--all is everything: leave --user and the sessions out");
  const client = await connectTo(target, options);
  const users: string[] = [];
  try {
    for (let cursor: string | undefined; ;) {
      const page = await client.request("user.list", { limit: 100, ...(cursor !== undefined && { cursor }) });
      users.push(...page.users.filter(({ sessions }) => sessions > 0).map((each) => each.user));
      if (page.next === undefined) return users;
      cursor = page.next;
    }
  } finally {
    client.disconnect();
  }
}

/** Waits until whoever reads has taken it, so that no more is held than a line. */
function writerTo(io: Io): Out {
  return async (line) => {
    io.out(JSON.stringify(line));
    while (process.stdout.writableNeedDrain) {
      await new Promise<void>((drained) => process.stdout.once("drain", drained));
    }
  };
}

async function exportAll(client: Client, asked: readonly string[], out: Out, io: Io): Promise<number> {
  if (asked.length > 0) {
    for (const session_id of asked) await exportSession(client, session_id, out, io);
    return asked.length;
  }
  const own = client.hello?.auth_info.user;
  let count = 0;
  for (const archived of [false, true]) {
    for (let cursor: string | undefined; ;) {
      const page = await client.request("session.list", {
        limit: LISTED,
        archived,
        ...(cursor !== undefined && { cursor }),
      });
      for (const { session_id } of page.sessions.filter(({ owner }) => owner === own)) {
        await exportSession(client, session_id, out, io);
        count++;
      }
      if (page.next === undefined) break;
      cursor = page.next;
    }
  }
  return count;
}

async function exportSession(client: Client, session_id: string, out: Out, io: Io): Promise<void> {
  const session = await client.request("session.get", { session_id });
  await out({ type: "session", session: aboutOf(session) });
  const known = new Set<string>();
  let messages = 0;
  for await (const message of messagesOf(client, session_id)) {
    if (message.status === "streaming") {
      io.err(`agentbus: ${session_id}: what is being written just now is left out`);
      break;
    }
    for (const part of message.parts ?? []) {
      if (!("attachment_id" in part) || known.has(part.attachment_id)) continue;
      known.add(part.attachment_id);
      const data = Buffer.from(await (await client.download(session_id, part.attachment_id)).arrayBuffer());
      const sha256 = createHash("sha256").update(data).digest("hex");
      await out({ ...part, type: "attachment", sha256, data: data.toString("base64") });
    }
    const { session_id: _id, seq: _seq, run_id: _run, ...kept } = message;
    await out({ type: "message", message: kept });
    messages++;
  }
  await out({ type: "end", session_id, messages });
}

function aboutOf(session: Session): object {
  const { session_id, title, model, system_prompt, metadata, created_at, updated_at, archived } = session;
  return { session_id, title, model, system_prompt, metadata, created_at, updated_at, archived };
}

/** Oldest first, a page at a time: the way back to the beginning holds no more than a page. */
async function* messagesOf(client: Client, session_id: string): AsyncGenerator<Message> {
  let page = await client.request("chat.history", { session_id, limit: PAGE });
  while (page.has_more) {
    const before = page.messages[0]?.message_id ?? "";
    page = await client.request("chat.history", { session_id, limit: PAGE, before });
  }
  for (;;) {
    yield* page.messages;
    const after = page.messages.at(-1)?.message_id;
    if (after === undefined) return;
    page = await client.request("chat.history", { session_id, limit: PAGE, after });
  }
}
