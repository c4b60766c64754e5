import type { ToolCall } from "../core/ports.ts";
import { createWellFormed } from "../core/text.ts";

interface OpenCall {
  id: string;
  name: string;
  arguments: string;
  readonly door: ReturnType<typeof createWellFormed>;
}

type Fields = Readonly<Record<string, unknown>>;

/** Gathers the calls of one answer from the pieces they come in. */
export interface Calls {
  /** Pieces of a chunk, or whole calls of a whole message. The text that was new, for whoever counts it. */
  take(pieces: unknown): string;
  /** Once the answer is over, in index order; ids are unique, made where there is none of its own. */
  all(): ToolCall[];
}

/**
 * Pieces belong together by their index. Servers differ: an index may be missing, or the same for every call; an id
 * may come late, twice or never; arguments may be an object.
 */
export function createCalls(): Calls {
  const calls: OpenCall[] = [];
  /** By the index the upstream gave, the newest. */
  const byIndex = new Map<number, OpenCall>();

  function open(index: number | null): OpenCall {
    const call = { id: "", name: "", arguments: "", door: createWellFormed() };
    calls.push(call);
    if (index !== null) byIndex.set(index, call);
    return call;
  }

  function find(index: number | null, id: string, name: string): OpenCall {
    const known = index === null ? calls.at(-1) : byIndex.get(index);
    if (known === undefined) return open(index);
    const other = id !== "" && known.id !== "" && id !== known.id;
    // Without an index or an id a name begins the next call.
    const next = index === null && id === "" && name !== "" && known.name !== "";
    return other || next ? open(index) : known;
  }

  function takeOne(piece: Fields): string {
    const said = isFields(piece["function"]) ? piece["function"] : {};
    const id = textOf(piece["id"]);
    const name = textOf(said["name"]);
    const index = typeof piece["index"] === "number" ? piece["index"] : null;
    const call = find(index, id, name);
    if (call.id === "") call.id = id;
    if (call.name === "") call.name = name;
    const given = said["arguments"];
    const text = isFields(given) ? JSON.stringify(given) : call.door.push(textOf(given));
    call.arguments += text;
    return text;
  }

  return {
    take: (pieces) =>
      Array.isArray(pieces) ? pieces.map((piece) => (isFields(piece) ? takeOne(piece) : "")).join("") : "",
    all() {
      const ids = new Set<string>();
      return calls
        .filter(({ name }) => name !== "")
        .map(({ id, name, arguments: args, door }) => {
          const unique = id === "" || ids.has(id) ? `call_${crypto.randomUUID().replaceAll("-", "")}` : id;
          ids.add(unique);
          const text = args + door.end();
          return { tool_call_id: unique, name, arguments: text.trim() === "" ? "{}" : text };
        });
    },
  };
}

function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}
