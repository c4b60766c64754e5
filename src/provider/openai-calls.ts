import type { ToolCall } from "../core/ports.ts";
import { createWellFormed } from "../core/text.ts";
import { GatewayError } from "../protocol/errors.ts";
import { newToolCallId } from "./openai-tools.ts";

interface OpenCall {
  id: string;
  name: string;
  arguments: string;
  /** As the server sent it, JSON text; "" for none. */
  extra: string;
  /** How often it was looked whether the arguments are whole. */
  looks: number;
  readonly door: ReturnType<typeof createWellFormed>;
}

interface Piece {
  readonly index: number | null;
  readonly id: string;
  readonly name: string;
  readonly text: string;
  readonly extra: string;
}

type Fields = Readonly<Record<string, unknown>>;

/** Gathers the calls of one answer from the pieces they come in. */
export interface Calls {
  /** Pieces of a chunk, or whole calls of a whole message. What was new, for whoever counts it. @throws GatewayError TOO_LARGE for too many calls */
  take(pieces: unknown): string;
  /** Once the answer is over, in index order; ids are unique, made where there is none of its own. */
  all(): ToolCall[];
}

/** More than a model asks for at once; a run may make fewer. */
const MOST_CALLS = 128;
/** Longer than any tool's: what is cut is a tool that does not exist. */
const NAME_CHARS = 200;
const ID_CHARS = 256;
/** Text that was searched before is not searched again for every piece a server cares to send. */
const LOOKS = 8;

/**
 * Pieces belong together by their index. Servers differ: an index may be missing, or the same for every call; an id
 * may come late, twice, never or anew with each piece; a name may be repeated; arguments may be an object, begin with an
 * empty one, or be those of the next call without a word.
 */
export function createCalls(): Calls {
  const calls: OpenCall[] = [];
  /** By the index the upstream gave, the newest. */
  const byIndex = new Map<number, OpenCall>();

  function open(index: number | null): OpenCall {
    if (calls.length === MOST_CALLS) {
      throw new GatewayError("TOO_LARGE", `the model's answer calls more than ${MOST_CALLS} tools`, {
        details: { kind: "message" },
        limit: { what: "calls", limit: MOST_CALLS },
      });
    }
    const call = { id: "", name: "", arguments: "", extra: "", looks: 0, door: createWellFormed() };
    calls.push(call);
    if (index !== null) byIndex.set(index, call);
    return call;
  }

  function find(piece: Piece): OpenCall {
    const { index, id } = piece;
    const known =
      index === null
        ? (calls.findLast((call) => id !== "" && call.id === id) ?? calls.at(-1))
        : byIndex.get(index);
    if (known === undefined) return open(index);
    if (!isNext(known, piece)) return known;
    const next = open(index);
    // Without a word of its own it is another call of the same tool.
    if (id === "" || id === known.id) next.name = piece.name === "" ? known.name : "";
    return next;
  }

  function takeOne(given: Fields): string {
    const piece = readPiece(given);
    const call = find(piece);
    const known = call.id.length + call.name.length + call.extra.length;
    if (call.id === "") call.id = piece.id;
    if (call.name === "") call.name = piece.name;
    if (call.extra === "") call.extra = piece.extra;
    // An empty object that more follows was only the beginning.
    if (call.arguments === "{}" && piece.text.startsWith("{")) call.arguments = "";
    const text = call.door.push(piece.text);
    call.arguments += text;
    return text + " ".repeat(call.id.length + call.name.length + call.extra.length - known);
  }

  return {
    take: (pieces) =>
      Array.isArray(pieces) ? pieces.map((piece) => (isFields(piece) ? takeOne(piece) : "")).join("") : "",
    all() {
      const ids = new Set<string>();
      return calls
        .filter(({ name }) => name !== "")
        .map(({ id, name, arguments: args, extra, door }) => {
          const unique = id === "" || ids.has(id) ? newToolCallId() : id;
          ids.add(unique);
          const text = args + door.end();
          const call = { tool_call_id: unique, name, arguments: text.trim() === "" ? "{}" : text };
          return extra === "" ? call : { ...call, extra };
        });
    },
  };
}

function readPiece(given: Fields): Piece {
  const said = isFields(given["function"]) ? given["function"] : {};
  const args = said["arguments"];
  const id = textOf(given["id"]);
  return {
    index: typeof given["index"] === "number" ? given["index"] : null,
    id: id.length > ID_CHARS ? "" : id,
    name: textOf(said["name"]).slice(0, NAME_CHARS),
    text: isFields(args) ? JSON.stringify(args) : textOf(args),
    extra: isFields(given["extra_content"]) ? JSON.stringify(given["extra_content"]) : "",
  };
}

/** Whether a piece that would belong to `known` begins the next call. */
function isNext(known: OpenCall, { index, id, name, text }: Piece): boolean {
  const other = id !== "" && known.id !== "" && id !== known.id;
  // Some servers make an id for every piece: one that only goes on names nothing.
  if (other && (name !== "" || text === "")) return true;
  if (name !== "" && known.name !== "") {
    if (isWhole(known)) return true;
    return index === null && id === "" && (name !== known.name || known.arguments === "");
  }
  return text.startsWith("{") && known.arguments !== "{}" && isWhole(known);
}

function isWhole(call: OpenCall): boolean {
  if (!call.arguments.trimEnd().endsWith("}") || call.looks++ >= LOOKS) return false;
  try {
    JSON.parse(call.arguments);
    return true;
  } catch {
    // More of it is to come.
    return false;
  }
}

function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}
