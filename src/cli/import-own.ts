import { createHash } from "node:crypto";
import type { Part } from "../protocol/entities.ts";
import { CommandError } from "./exit.ts";
import { FORMAT, FORMAT_VERSION } from "./export-format.ts";
import type { About, GivenMessage, Incoming } from "./export-format.ts";
import type { Line } from "./import-lines.ts";

interface Exported extends Omit<GivenMessage, "parts"> {
  readonly parts?: readonly Part[];
}

export function isExport({ value }: Line): boolean {
  return value["format"] === FORMAT;
}

/** What `agentbus export` wrote. @throws CommandError where it is of a newer version, or not whole */
export async function* readExport(path: string, lines: AsyncIterable<Line>): AsyncGenerator<Incoming> {
  let isOpen = false;
  let messages = 0;
  for await (const { number, value } of lines) {
    if (value["format"] === FORMAT) {
      checkVersion(path, value["version"]);
      continue;
    }
    if ((value["type"] === "session") === isOpen) throw cutShort(path, number);
    switch (value["type"]) {
      case "session":
        isOpen = true;
        messages = 0;
        yield sessionOf(value["session"] as Record<string, unknown>);
        break;
      case "attachment":
        yield fileOf(path, number, value);
        break;
      case "message": {
        const { message_id, role, status, content, parts, model, usage, timestamp, metadata } = value[
          "message"
        ] as Exported;
        const more = { ...(model !== undefined && { model }), ...(usage !== undefined && { usage }) };
        const id = message_id === undefined ? {} : { message_id };
        const said = { role, status, content, timestamp, ...(metadata !== undefined && { metadata }) };
        messages++;
        yield { kind: "message", message: { ...id, ...said, ...more, parts: parts ?? [] } };
        break;
      }
      case "end":
        if (value["messages"] !== messages) throw cutShort(path, number);
        isOpen = false;
        yield value["deleted"] === true ? { kind: "end", deleted: true } : { kind: "end" };
        break;
      default:
        yield { kind: "lost", what: `lines of the type ${String(value["type"])}` };
    }
  }
  if (isOpen) throw cutShort(path, null);
}

function checkVersion(path: string, version: unknown): void {
  if (typeof version === "number" && version <= FORMAT_VERSION) return;
  throw new CommandError(
    `${path} is an export of version ${String(version)}, this agentbus reads up to ${FORMAT_VERSION}: use a newer one`,
  );
}

function sessionOf(session: Record<string, unknown>): Incoming {
  const owner = session["owner"];
  return { kind: "session", about: aboutOf(session), owner: typeof owner === "string" ? owner : null };
}

function aboutOf(session: Record<string, unknown>): About {
  const { session_id, title, model, system_prompt, metadata, created_at, archived } = session;
  const name = typeof session_id === "string" && !session_id.startsWith("ses_") ? { name: session_id } : {};
  const given = { title, model, system_prompt, metadata, created_at, archived };
  const said = Object.entries(given).filter(([, value]) => value !== undefined);
  return { ...name, ...Object.fromEntries(said) };
}

function fileOf(path: string, number: number, value: Line["value"]): Incoming {
  const data = Buffer.from(String(value["data"] ?? ""), "base64");
  if (createHash("sha256").update(data).digest("hex") !== value["sha256"])
    throw new CommandError(`${path}, line ${number}: the content of the file is not that of its sha256`);
  const { attachment_id, name } = value;
  return { kind: "file", file: { attachment_id: String(attachment_id), name: String(name), data } };
}

function cutShort(path: string, number: number | null): CommandError {
  const where = number === null ? "at its end" : `at line ${number}`;
  return new CommandError(`${path}: a session is not whole ${where}; nothing of it comes in`);
}
