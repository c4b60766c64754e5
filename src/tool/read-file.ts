import type { FileHandle } from "node:fs/promises";
import type { Limits } from "../core/limits.ts";
import type { Tool } from "../core/ports.ts";
import { lengthUtf8 } from "../core/text.ts";
import type { Workspace } from "./workspace.ts";

const CHUNK_BYTES = 64 * 1_024;
const MOST_LINES = 2_000;
/** For what is said besides the lines. */
const HEAD_BYTES = 1_024;

interface Page {
  readonly lines: string[];
  /** More lines follow. */
  more: boolean;
  /** The last line is not whole. */
  isCut: boolean;
}

/** Reads lines of a text file of the workspace. */
export function readFileTool(
  workspace: Workspace,
  limits: Pick<Limits, "file_bytes" | "tool_result_bytes">,
): Tool {
  return {
    name: "read_file",
    description:
      "Reads a text file of the workspace. A long one comes in pages: `offset` is the first line (from 1), `limit` how many.",
    parameters: {
      type: "object",
      properties: {
        path: { type: "string", minLength: 1 },
        offset: { type: "integer", minimum: 1 },
        limit: { type: "integer", minimum: 1, maximum: MOST_LINES },
      },
      required: ["path"],
      additionalProperties: false,
    },
    source: "builtin",
    async run({ path, offset = 1, limit = MOST_LINES }, { signal }) {
      const { handle, size } = await workspace.open(String(path), "file");
      try {
        if (size > limits.file_bytes) return `It has ${size} bytes, which is too large to be read.`;
        const from = Number(offset);
        const page = await readLines(handle, {
          from,
          count: Number(limit),
          max_bytes: limits.tool_result_bytes - HEAD_BYTES,
          file_bytes: limits.file_bytes,
          signal,
        });
        return page === null
          ? `It is a binary file of ${size} bytes and is not shown.`
          : told(page, from, size);
      } finally {
        await handle.close();
      }
    },
  };
}

interface Range {
  readonly from: number;
  readonly count: number;
  readonly max_bytes: number;
  /** A file may grow while it is read. */
  readonly file_bytes: number;
  readonly signal: AbortSignal;
}

/** Null: it is no text. */
async function readLines(handle: FileHandle, range: Range): Promise<Page | null> {
  const { from, count, max_bytes, file_bytes, signal } = range;
  const decoder = new TextDecoder();
  const buffer = new Uint8Array(CHUNK_BYTES);
  const page: Page = { lines: [], more: false, isCut: false };
  let number = 1;
  let room = max_bytes;
  let held = "";

  /** Whether the page is full. */
  function add(text: string): boolean {
    const bytes = lengthUtf8(text) + 1;
    if (page.lines.length === count || (bytes > room && page.lines.length > 0)) {
      page.more = true;
      return true;
    }
    page.isCut = bytes > room;
    page.lines.push(page.isCut ? text.slice(0, room) : text);
    room -= bytes;
    return page.isCut;
  }

  for (let at = 0; at < file_bytes;) {
    signal.throwIfAborted();
    const { bytesRead } = await handle.read(buffer, 0, CHUNK_BYTES, at);
    const bytes = buffer.subarray(0, bytesRead);
    if (at === 0 && bytes.includes(0)) return null;
    at += bytesRead;
    const lines = (held + decoder.decode(bytes, { stream: bytesRead > 0 })).split("\n");
    held = lines.pop() ?? "";
    if (bytesRead === 0 && held !== "") lines.push(held);
    for (const line of lines) {
      if (number++ >= from && add(line.replace(/\r$/, ""))) return page;
    }
    if (bytesRead === 0) break;
    // A line that is longer than a page is not gathered to its end.
    if (held.length > max_bytes) {
      if (number >= from && add(held)) return page;
      if (number < from) held = held.slice(-1);
    }
  }
  return page;
}

function told({ lines, more, isCut }: Page, from: number, size: number): string {
  if (lines.length === 0) return size === 0 ? "It is empty." : `It has no line ${from}.`;
  const last = from + lines.length - 1;
  const notes = [
    ...(isCut ? [`Line ${last} is longer than can be shown and is cut.`] : []),
    ...(more || isCut ? [`There is more: read on with offset ${last + 1}.`] : []),
  ];
  const head = `Lines ${from} to ${last}.`;
  return `${[head, ...notes].join(" ")}\n\n${lines.join("\n")}`;
}
