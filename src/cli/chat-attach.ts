import { existsSync, readdirSync } from "node:fs";
import type { LocalFile, Place } from "./attach-file.ts";
import { expandPath, localFile, sizeText } from "./attach-file.ts";
import type { Talk } from "./chat-commands.ts";
import { explain } from "./explain.ts";
import { visible } from "./table.ts";

/** Paths that are offered at once. */
const OFFERED = 100;
/** An upload that takes longer than this is told of. */
const SLOW_MS = 1_000;
const WORD = /(?:\\.|"[^"]*"|'[^']*'|[^\s"'\\])+/g;
const COMMAND = "/attach ";

/** What of a conversation it takes. */
type Attaching = Pick<Talk, "attached" | "place" | "tell">;

export async function attach(rest: string, talk: Attaching): Promise<void> {
  if (rest === "") return talk.tell(waiting(talk));
  if (rest === "none") {
    const dropped = talk.attached.drop();
    return talk.tell([dropped === 0 ? "nothing was attached" : "nothing is attached any more"]);
  }
  const files = pathsOf(rest, talk.place).map((path) => localFile(path, talk.place));
  await Promise.all(files.map((file) => add(file, talk)));
  return undefined;
}

function waiting({ attached }: Attaching): string[] {
  if (attached.waiting.length === 0)
    return ["nothing is attached: /attach FILE sends it with the next message"];
  const lines = attached.waiting.map(({ name, bytes }) => `${visible(name)}, ${sizeText(bytes)}`);
  return ["with the next message (/attach none: without):", ...lines.map((line) => `  ${line}`)];
}

/** One that is not taken leaves the others alone. */
async function add(file: LocalFile, { attached, tell }: Attaching): Promise<void> {
  const slow = setTimeout(() => tell([`sending ${visible(file.name)}, ${sizeText(file.bytes)}`]), SLOW_MS);
  try {
    const attachment = await attached.add(file);
    if (attachment === null) return;
    const { name, media_type, bytes } = attachment;
    tell([`${visible(name)}, ${media_type}, ${sizeText(bytes)}: goes with the next message`]);
  } catch (error) {
    tell([`agentbus: ${explain(error)}`]);
  } finally {
    clearTimeout(slow);
  }
}

/** What was typed is one path, spaces and all, where there is such a file; else several, written as for a shell. */
export function pathsOf(rest: string, place: Place): string[] {
  if (existsSync(expandPath(rest, place))) return [rest];
  return (rest.match(WORD) ?? [rest]).map(plain);
}

function plain(word: string): string {
  return word.replaceAll(
    /\\(.)|"([^"]*)"|'([^']*)'/g,
    (_, escaped?: string, double?: string, single?: string) => escaped ?? double ?? single ?? "",
  );
}

/** What a line with paths may become: its last path is completed. */
export function pathCompletions(line: string, place: Place): string[] {
  if (!line.startsWith(COMMAND)) return [];
  const [typed = ""] = /(?:\\.|[^\s\\])*$/.exec(line.slice(COMMAND.length)) ?? [];
  const before = line.slice(0, line.length - typed.length);
  const path = plain(typed);
  const directory = path.slice(0, path.lastIndexOf("/") + 1);
  const begun = path.slice(directory.length);
  return entriesOf(expandPath(directory, place))
    .filter(({ name }) => name.startsWith(begun) && (begun !== "" || !name.startsWith(".")))
    .slice(0, OFFERED)
    .map(({ name, isDirectory }) => `${before}${escaped(directory + name)}${isDirectory ? "/" : ""}`);
}

function entriesOf(directory: string): { name: string; isDirectory: boolean }[] {
  try {
    return readdirSync(directory, { withFileTypes: true })
      .map((entry) => ({ name: entry.name, isDirectory: entry.isDirectory() }))
      .filter(({ name }) => visible(name) === name)
      .toSorted((a, b) => (a.name < b.name ? -1 : 1));
  } catch {
    // There is nothing to complete in a directory that cannot be read.
    return [];
  }
}

function escaped(path: string): string {
  return path.replaceAll(/[\s"'\\]/g, "\\$&");
}
