import type { Client } from "../../client/client.ts";
import type { ResultFor } from "../../client/methods.ts";
import { save } from "../save.ts";

type History = ResultFor<"chat.history">;
type Message = History["messages"][number];

const PAGE = 500;

/** Saves the whole session as a file. */
export async function exportSession(client: Client, session_id: string, as: "md" | "json"): Promise<void> {
  const session = await client.request("session.get", { session_id });
  const messages = await readAll(client, session_id);
  const text =
    as === "json"
      ? `${JSON.stringify({ session, messages }, null, 2)}\n`
      : toMarkdown(session.title, messages);
  const type = as === "json" ? "application/json" : "text/markdown";
  save(`${fileName(session.title)}.${as}`, new Blob([text], { type }));
}

/** From the first message on, in order: the newest page first, then what is before it. */
async function readAll(client: Client, session_id: string): Promise<Message[]> {
  const pages: Message[][] = [];
  for (let before: string | undefined; ;) {
    const page: History = await client.request("chat.history", {
      session_id,
      limit: PAGE,
      ...(before !== undefined && { before }),
    });
    pages.unshift(page.messages);
    before = page.messages[0]?.message_id;
    if (!page.has_more || before === undefined) return pages.flat();
  }
}

export function toMarkdown(title: string, messages: readonly Message[]): string {
  const sections = messages.map((message) => {
    const when = new Date(message.timestamp).toISOString().replace(/\.\d+Z$/, "Z");
    return `## ${nameOf(message)} · ${when}\n\n${bodyOf(message)}\n`;
  });
  return [`# ${title === "" ? "Untitled" : title}\n`, ...sections].join("\n");
}

function nameOf({ role, model }: Message): string {
  if (role === "assistant" && model !== undefined) return `assistant (${model})`;
  return role;
}

function bodyOf({ role, content, parts = [] }: Message): string {
  if (role === "tool") return fenced(content, "");
  const calls = parts
    .filter((part) => part.type === "tool_call")
    .map(({ name, arguments: args }) => `Calls \`${name}\`:\n\n${fenced(args, "json")}`);
  const files = parts
    .filter((part) => part.type === "image" || part.type === "file")
    .map(({ name }) => `Attached: ${name}`);
  return [...files, content, ...calls].filter((text) => text !== "").join("\n\n");
}

/** A fence longer than any inside. */
function fenced(text: string, language: string): string {
  const longest = Math.max(2, ...[...text.matchAll(/`+/g)].map(([run]) => run.length));
  const fence = "`".repeat(longest + 1);
  return `${fence}${language}\n${text}\n${fence}`;
}

function fileName(title: string): string {
  const plain = title.replaceAll(/[^\p{L}\p{N} _.-]+/gu, "").trim();
  return plain === "" ? "session" : plain.slice(0, 80);
}
