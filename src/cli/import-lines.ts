import { createReadStream } from "node:fs";
import { CommandError } from "./exit.ts";

/** Longest line that is read: a file of 8 MiB as base64, and more than a message may have. */
const LINE_BYTES = 32 * 1024 * 1024;

export interface Line {
  readonly number: number;
  readonly value: Readonly<Record<string, unknown>>;
}

/** The JSON objects of a file, one a line, none of them held. @throws CommandError that names the line */
export async function* linesOf(path: string): AsyncGenerator<Line> {
  let number = 0;
  for await (const text of textLines(path)) {
    number++;
    if (text.trim() === "") continue;
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch {
      throw new CommandError(`${path}, line ${number}: this is no JSON; is the file whole?`);
    }
    if (typeof value !== "object" || value === null || Array.isArray(value))
      throw new CommandError(`${path}, line ${number}: this is no JSON object`);
    yield { number, value: value as Line["value"] };
  }
}

async function* textLines(path: string): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let parts: string[] = [];
  let length = 0;
  for await (const chunk of createReadStream(path)) {
    const pieces = decoder.decode(chunk as Uint8Array, { stream: true }).split("\n");
    const last = pieces.pop() ?? "";
    for (const piece of pieces) {
      yield parts.join("") + piece;
      parts = [];
      length = 0;
    }
    parts.push(last);
    length += last.length;
    if (length > LINE_BYTES) throw new CommandError(`${path}: a line is longer than ${LINE_BYTES} bytes`);
  }
  yield parts.join("") + decoder.decode();
}
