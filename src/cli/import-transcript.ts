import type { Part } from "../protocol/entities.ts";
import type { About, GivenMessage, Incoming } from "./export-format.ts";
import type { Line } from "./import-lines.ts";

/** Longest result of a tool that a gateway keeps by default. */
const RESULT_CHARS = 16_000;
const TITLE_CHARS = 80;
/** What says how a session was, and nothing that was said in it. */
const SETTINGS = new Set([
  "session",
  "model_change",
  "thinking_level_change",
  "session_info",
  "custom",
  "leaf",
]);

type Entry = Line["value"];
type Block = Readonly<Record<string, unknown>>;

export function isTranscript({ value }: Line): boolean {
  return value["type"] === "session" && typeof value["id"] === "string";
}

/**
 * A session of OpenClaw, or of Moltbot or Clawdbot, which it was called before: a header, then entries that form a tree. What comes in is the
 * branch that the session is at. `lines` reads the file anew each time.
 */
export async function* readTranscript(lines: () => AsyncIterable<Line>): AsyncGenerator<Incoming> {
  const { header, branch, title } = await survey(lines());
  const id = String(header["id"]);
  const about: About = {
    ...(/^(?!ses_)[A-Za-z0-9._:-]{1,128}$/.test(id) && { name: id }),
    title,
    created_at: timeOf(header["timestamp"], 0),
    metadata: { imported_from: "openclaw" },
  };
  yield { kind: "session", about, owner: null };
  let files = 0;
  for await (const { value } of lines()) {
    if (SETTINGS.has(String(value["type"]))) continue;
    if (branch !== null && !branch.has(String(value["id"]))) {
      yield { kind: "lost", what: "entries of other branches" };
      continue;
    }
    for (const each of convert(value, () => ++files)) yield each;
  }
  yield { kind: "end" };
}

/** The ids on the way from where the session is to its beginning; null: its entries have none, so all of them. */
async function survey(lines: AsyncIterable<Line>) {
  const parents = new Map<string, string | null>();
  let header: Entry = {};
  let last: string | null = null;
  let leaf: string | null = null;
  let named = "";
  let first = "";
  for await (const { value } of lines) {
    if (value["type"] === "session") header = value;
    if (value["type"] === "session_info") named = textOf(value["name"]);
    const message = value["message"] as Block | undefined;
    if (first === "" && message?.["role"] === "user") first = textOf(message["content"]).trim();
    if (value["type"] === "leaf") leaf = typeof value["targetId"] === "string" ? value["targetId"] : null;
    const { id, parentId } = value;
    if (value["type"] === "session" || typeof id !== "string") continue;
    parents.set(id, typeof parentId === "string" ? parentId : null);
    if (value["type"] !== "leaf" && value["appendMode"] !== "side") last = id;
  }
  const branch = new Set<string>();
  const tip = leaf !== null && parents.has(leaf) ? leaf : last;
  for (let at = tip; at !== null && !branch.has(at); at = parents.get(at) ?? null) branch.add(at);
  const title = [...(named === "" ? first : named).replaceAll(/\s+/g, " ")].slice(0, TITLE_CHARS).join("");
  return { header, branch: parents.size === 0 ? null : branch, title };
}

function* convert(entry: Entry, nextFile: () => number): Generator<Incoming> {
  const message = entry["message"] as Block | undefined;
  const timestamp = timeOf(message?.["timestamp"] ?? entry["timestamp"], 0);
  if (entry["type"] === "message" && message !== undefined) return yield* said(message, timestamp, nextFile);
  if (entry["type"] === "custom_message") {
    const content = textOf(entry["content"]);
    return yield { kind: "message", message: { ...plain("user", content, timestamp), parts: [] } };
  }
  return yield { kind: "lost", what: lostName(String(entry["type"])) };
}

function* said(message: Block, timestamp: number, nextFile: () => number): Generator<Incoming> {
  const role = String(message["role"]);
  switch (role) {
    case "user":
      return yield* user(message, timestamp, nextFile);
    case "assistant":
      return yield { kind: "message", message: { ...assistant(message, timestamp) } };
    case "toolResult":
      return yield* toolResult(message, timestamp);
    case "bashExecution": {
      const content = `$ ${textOf(message["command"])}\n${textOf(message["output"])}`;
      return yield { kind: "message", message: { ...plain("user", content, timestamp), parts: [] } };
    }
    case "custom":
    case "hookMessage":
      return yield {
        kind: "message",
        message: { ...plain("user", textOf(message["content"]), timestamp), parts: [] },
      };
    default:
      return yield { kind: "lost", what: lostName(role) };
  }
}

function* user(message: Block, timestamp: number, nextFile: () => number): Generator<Incoming> {
  const content = textOf(message["content"]);
  const parts: Part[] = content === "" ? [] : [{ type: "text", text: content }];
  for (const block of blocksOf(message["content"])) {
    if (block["type"] !== "image") continue;
    const type = String(block["mimeType"]).replace(/^image\//, "");
    const name = `image-${nextFile()}.${type === "jpeg" ? "jpg" : type}`;
    const data = Buffer.from(String(block["data"] ?? ""), "base64");
    yield { kind: "file", file: { attachment_id: name, name, data } };
    // What it is is found out from its content.
    parts.push({ type: "file", attachment_id: name, name, media_type: "", bytes: data.length });
  }
  if (parts.length === 0) return yield { kind: "lost", what: "messages without text" };
  return yield { kind: "message", message: { ...plain("user", content, timestamp), parts } };
}

function assistant(message: Block, timestamp: number): GivenMessage & { parts: Part[] } {
  const parts = blocksOf(message["content"]).flatMap((block): Part[] => {
    if (block["type"] === "text" && block["text"] !== "")
      return [{ type: "text", text: textOf(block["text"]) }];
    if (block["type"] === "thinking") return [{ type: "reasoning", text: textOf(block["thinking"]) }];
    if (block["type"] !== "toolCall") return [];
    const args = JSON.stringify(block["arguments"] ?? {});
    return [
      { type: "tool_call", tool_call_id: String(block["id"]), name: String(block["name"]), arguments: args },
    ];
  });
  const { provider, model, stopReason } = message;
  const status =
    stopReason === "error" || stopReason === "aborted" ? ("partial" as const) : ("complete" as const);
  const usage = usageOf(message["usage"] as Block | undefined);
  const by =
    typeof model === "string" ? { model: [provider, model].filter(Boolean).join("/").slice(0, 256) } : {};
  const content = textOf(message["content"]);
  return {
    ...plain("assistant", content, timestamp),
    status,
    parts,
    ...by,
    ...(usage !== null && { usage }),
  };
}

function* toolResult(message: Block, timestamp: number): Generator<Incoming> {
  const whole = textOf(message["content"]);
  const content = [...whole].length > RESULT_CHARS ? [...whole].slice(0, RESULT_CHARS).join("") : whole;
  const truncated = content.length < whole.length;
  if (truncated) yield { kind: "lost", what: "ends of long results of tools" };
  for (const block of blocksOf(message["content"]))
    if (block["type"] === "image") yield { kind: "lost", what: "images in results of tools" };
  const tool_call_id = String(message["toolCallId"]);
  const ok = message["isError"] !== true;
  const part: Part = { type: "tool_result", tool_call_id, ok, ...(truncated && { truncated }) };
  yield { kind: "message", message: { ...plain("tool", content, timestamp), parts: [part] } };
}

function plain(role: GivenMessage["role"], content: string, timestamp: number) {
  return { role, status: "complete" as const, content, timestamp };
}

function usageOf(usage: Block | undefined): NonNullable<GivenMessage["usage"]> | null {
  if (usage === undefined) return null;
  const count = (name: string): number => {
    const value = usage[name];
    return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 ? value : 0;
  };
  const cached_tokens = count("cacheRead");
  const input_tokens = count("input") + cached_tokens + count("cacheWrite");
  return { input_tokens, output_tokens: count("output"), ...(cached_tokens > 0 && { cached_tokens }) };
}

function blocksOf(content: unknown): readonly Block[] {
  return Array.isArray(content) ? (content as readonly Block[]) : [];
}

/** The text of a content, which is one or has some. */
function textOf(content: unknown): string {
  if (typeof content === "string") return content;
  return blocksOf(content)
    .flatMap(({ type, text }) => (type === "text" && typeof text === "string" ? [text] : []))
    .join("");
}

/** Milliseconds, or ISO 8601. */
/** Later there is no date. */
const LAST_MS = 8_640_000_000_000_000;

function timeOf(said: unknown, otherwise: number): number {
  const time = typeof said === "number" ? said : Date.parse(String(said));
  return Number.isInteger(time) && time >= 0 && time <= LAST_MS ? time : otherwise;
}

function lostName(type: string): string {
  const names: Record<string, string> = {
    compaction: "summaries (what they cover comes in)",
    compactionSummary: "summaries (what they cover comes in)",
    branch_summary: "summaries of other branches",
    branchSummary: "summaries of other branches",
    label: "labels",
  };
  return names[type] ?? `entries of the type ${type}`;
}
