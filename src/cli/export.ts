import { createHash } from "node:crypto";
import type { Client } from "../client/client.ts";
import { ClientError } from "../client/error.ts";
import type { ResultFor } from "../client/methods.ts";
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
    const { users, left_out } = await usersOf(input, target, io);
    let [sessions, deleted] = [0, 0];
    for (const user of users) {
      const done = await asUser(target, user, options, (client) =>
        exportSessions(client, input.args, out, io),
      );
      sessions += done.sessions;
      deleted += done.deleted;
    }
    const without =
      deleted === 0 ? "" : `, without ${deleted} that ${deleted === 1 ? "was" : "were"} deleted meanwhile`;
    io.err(`agentbus: ${counted(sessions, "session")}${without}`);
    return left_out === 0 ? EXIT.ok : EXIT.failed;
  },
};

const options = { client_name: "agentbus export", scopes: ["chat.read" as const] };
type Out = (line: object) => Promise<void>;
/** What reading needs of a client. */
type Reader = Pick<Client, "hello" | "request" | "download">;

interface Users {
  /** Null: whoever asks. */
  readonly users: readonly (string | null)[];
  /** Those whose sessions cannot be read. */
  readonly left_out: number;
}

async function usersOf(input: Input, target: Target, io: Io): Promise<Users> {
  const user = input.text("user");
  if (!input.on("all")) return { users: [user ?? null], left_out: 0 };
  if (user !== undefined || input.args.length > 0)
    throw new UsageError("--all is everything: leave --user and the sessions out");
  const all = (await everybody(target)).filter(({ sessions, deleting }) => sessions > 0 && deleting !== true);
  const shut = all.filter(({ disabled }) => disabled);
  for (const each of shut) {
    io.err(
      `agentbus: ${counted(each.sessions, "session")} of ${each.user} are left out: nobody may act for who is disabled (agentbus user enable ${each.user})`,
    );
  }
  return { users: all.filter(({ disabled }) => !disabled).map((each) => each.user), left_out: shut.length };
}

async function everybody(target: Target): Promise<ResultFor<"user.list">["users"]> {
  const client = await connectTo(target, options);
  const users: ResultFor<"user.list">["users"] = [];
  try {
    for (let cursor: string | undefined; ;) {
      const page = await client.request("user.list", { limit: 100, ...(cursor !== undefined && { cursor }) });
      users.push(...page.users);
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

/** Those that are asked for, else all of the user's own. Of these one that is deleted meanwhile is left out. */
export async function exportSessions(
  client: Reader,
  asked: readonly string[],
  out: Out,
  io: Pick<Io, "err">,
) {
  const done = { sessions: 0, deleted: 0 };
  for (const session_id of asked.length > 0 ? asked : await ownSessions(client)) {
    try {
      await exportSession(client, session_id, out, io);
      done.sessions++;
    } catch (error) {
      if (asked.length > 0 || !(await isDeleted(client, session_id, error))) throw error;
      io.err(`agentbus: ${session_id} was deleted meanwhile: it is left out`);
      done.deleted++;
    }
  }
  return done;
}

/**
 * What is written to while they are listed moves to where the list was read already: it is read again until it has nothing that was
 * there before and is new.
 */
async function ownSessions(client: Reader): Promise<ReadonlySet<string>> {
  const own = client.hello?.auth_info.user;
  const ids = new Set<string>();
  let began: number | null = null;
  for (let isNew = true; isNew;) {
    isNew = false;
    for await (const { session_id, owner, created_at, updated_at } of listed(client)) {
      began ??= updated_at;
      if (owner !== own || ids.has(session_id)) continue;
      ids.add(session_id);
      isNew ||= created_at <= began;
    }
  }
  return ids;
}

async function* listed(client: Reader): AsyncGenerator<ResultFor<"session.list">["sessions"][number]> {
  for (let cursor: string | undefined; ;) {
    const page = await client.request("session.list", {
      limit: LISTED,
      ...(cursor !== undefined && { cursor }),
    });
    yield* page.sessions;
    if (page.next === undefined) return;
    cursor = page.next;
  }
}

async function isDeleted(client: Reader, session_id: string, error: unknown): Promise<boolean> {
  // A file that goes while it is sent ends with its connection.
  if (!isAbsent(error) && !(error instanceof ClientError && error.code === "CLOSED")) return false;
  return client.request("session.get", { session_id }).then(() => false, isAbsent);
}

function isAbsent(error: unknown): boolean {
  return error instanceof ClientError && (error.code === "GONE" || error.code === "NOT_FOUND");
}

async function exportSession(
  client: Reader,
  session_id: string,
  out: Out,
  io: Pick<Io, "err">,
): Promise<void> {
  const session = await client.request("session.get", { session_id });
  await out({ type: "session", session: aboutOf(session) });
  let messages = 0;
  try {
    for await (const line of contentOf(client, session_id, io)) {
      await out(line);
      if (line.type === "message") messages++;
    }
  } catch (error) {
    // What follows in the file is to be read all the same.
    if (await isDeleted(client, session_id, error))
      await out({ type: "end", session_id, messages, deleted: true });
    throw error;
  }
  await out({ type: "end", session_id, messages });
}

async function* contentOf(client: Reader, session_id: string, io: Pick<Io, "err">) {
  const known = new Set<string>();
  for await (const message of messagesOf(client, session_id)) {
    if (message.status === "streaming") {
      io.err(`agentbus: ${session_id}: what is being written just now is left out`);
      return;
    }
    for (const part of message.parts ?? []) {
      if (!("attachment_id" in part) || known.has(part.attachment_id)) continue;
      known.add(part.attachment_id);
      const data = Buffer.from(await (await client.download(session_id, part.attachment_id)).arrayBuffer());
      const sha256 = createHash("sha256").update(data).digest("hex");
      yield { ...part, type: "attachment" as const, sha256, data: data.toString("base64") };
    }
    const { session_id: _id, seq: _seq, run_id: _run, ...kept } = message;
    yield { type: "message" as const, message: kept };
  }
}

function aboutOf(session: Session): object {
  const { session_id, owner, title, model, system_prompt, metadata, created_at, updated_at, archived } =
    session;
  return { session_id, owner, title, model, system_prompt, metadata, created_at, updated_at, archived };
}

/** Oldest first, a page at a time: the way back to the beginning holds no more than a page. */
async function* messagesOf(client: Reader, session_id: string): AsyncGenerator<Message> {
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
