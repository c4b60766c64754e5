import type { ToolSpec } from "../core/ports.ts";
import { lengthUtf8, wellFormed } from "../core/text.ts";
import { isRecord } from "./mcp-result.ts";
import { checkable } from "./mcp-schema.ts";

/** A tool of a server, with the names of both sides. */
export interface ServedTool extends ToolSpec {
  /** What the server calls it. */
  readonly original: string;
  readonly checks: Readonly<Record<string, unknown>>;
}

export interface ServedTools {
  readonly tools: readonly ServedTool[];
  /** What was left out and why, for a person; "" for nothing. */
  readonly left_out: string;
}

export const TOOLS_MAX = 256;
const DESCRIPTION_CHARS = 4_096;
const SCHEMA_BYTES = 32 * 1024;
const SCHEMA_DEPTH = 24;
/** What the tools of one server may weigh in every request to a model. */
const SERVER_BYTES = 512 * 1024;
const NAME_CHARS = 64;
const ORIGINAL_CHARS = 256;
const TOLD = 3;

/** The tools that a server lists, as they are offered to models. Never throws, whatever the server sent. */
export function readTools(server: string, listed: readonly unknown[]): ServedTools {
  const tools = new Map<string, ServedTool>();
  const left: string[] = [];
  let bytes = 0;
  for (const each of listed) {
    const tool = tools.size < TOOLS_MAX ? readTool(server, each) : `more than ${TOOLS_MAX}`;
    if (typeof tool === "string") {
      left.push(tool);
      continue;
    }
    const size = lengthUtf8(tool.description) + lengthUtf8(JSON.stringify(tool.parameters));
    if (tools.has(tool.name)) left.push(`${tool.name}: there are two of this name`);
    else if (bytes + size > SERVER_BYTES) left.push(`${tool.name}: all together are too large`);
    else {
      bytes += size;
      tools.set(tool.name, tool);
    }
  }
  const more = left.length > TOLD ? `, and ${left.length - TOLD} more` : "";
  return {
    tools: [...tools.values()],
    left_out: left.length === 0 ? "" : `left out: ${left.slice(0, TOLD).join(", ")}${more}`,
  };
}

/** The tool, or why it is left out. */
function readTool(server: string, listed: unknown): ServedTool | string {
  if (!isRecord(listed)) return "something that is no tool";
  const { name: original, description, inputSchema } = listed;
  if (typeof original !== "string" || original === "" || original.length > ORIGINAL_CHARS) {
    return "a tool without a name that can be used";
  }
  const name = `${server}.${sanitised(original)}`;
  if (!isRecord(inputSchema) || inputSchema["type"] !== "object")
    return `${name}: its schema is none of an object`;
  if (!isFlat(inputSchema, SCHEMA_DEPTH)) return `${name}: its schema nests deeper than ${SCHEMA_DEPTH}`;
  if (lengthUtf8(JSON.stringify(inputSchema)) > SCHEMA_BYTES) {
    return `${name}: its schema has more than ${SCHEMA_BYTES} bytes`;
  }
  const text = typeof description === "string" ? description.slice(0, DESCRIPTION_CHARS) : "";
  return {
    name,
    original,
    description: wellFormed(text),
    // Some models refuse an object that says nothing of its properties.
    parameters: { properties: {}, ...inputSchema },
    checks: checkable(inputSchema),
  };
}

/** A name that every model takes: others are spelled with _. */
export function sanitised(name: string): string {
  return name.replaceAll(/[^A-Za-z0-9_-]/g, "_").slice(0, NAME_CHARS);
}

function isFlat(value: unknown, depth: number): boolean {
  if (typeof value !== "object" || value === null) return true;
  return depth > 0 && Object.values(value).every((each) => isFlat(each, depth - 1));
}
