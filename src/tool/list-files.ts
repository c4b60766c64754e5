import type { Dirent } from "node:fs";
import { opendir } from "node:fs/promises";
import { join } from "node:path";
import type { Limits } from "../core/limits.ts";
import type { Tool } from "../core/ports.ts";
import type { Workspace } from "./workspace.ts";
import { directoryOf } from "./workspace.ts";

const PATTERN_CHARS = 200;

type Bounds = Pick<Limits, "listed_entries" | "visited_entries">;

interface Walk {
  readonly workspace: Workspace;
  readonly limits: Bounds;
  readonly signal: AbortSignal;
  visited: number;
}

/** Lists a directory of the workspace, or what matches a pattern in it and below. */
export function listFilesTool(workspace: Workspace, limits: Bounds): Tool {
  return {
    name: "list_files",
    description:
      "Lists a directory of the workspace (`path`, else the workspace itself), or with `glob` such as **/*.md the files in and below it that match.",
    parameters: {
      type: "object",
      properties: {
        path: { type: "string", minLength: 1 },
        glob: { type: "string", minLength: 1, maxLength: PATTERN_CHARS },
      },
      additionalProperties: false,
    },
    source: "builtin",
    async run({ path = ".", glob }, { signal }) {
      const walk: Walk = { workspace, limits, signal, visited: 0 };
      const pattern = glob === undefined ? null : new Bun.Glob(String(glob));
      const names: string[] = [];
      let isCut = false;
      for await (const name of pattern === null
        ? entriesOf(walk, String(path))
        : below(walk, String(path), pattern)) {
        isCut = names.length === limits.listed_entries;
        if (isCut) break;
        names.push(name);
      }
      isCut ||= walk.visited > limits.visited_entries;
      const note = isCut ? `\n\nThere are more; name a path or a narrower glob.` : "";
      return names.length === 0 ? `Nothing is there.${note}` : `${names.sort().join("\n")}${note}`;
    },
  };
}

/** One level; directories end in a slash. */
async function* entriesOf(walk: Walk, path: string): AsyncGenerator<string> {
  for await (const entry of read(walk, path)) yield shown(entry.name, entry);
}

/** Files that match, breadth first. Links are listed and not entered: one to a folder above would never end. */
async function* below(walk: Walk, path: string, pattern: Bun.Glob): AsyncGenerator<string> {
  const waiting = [""];
  for (let inner = waiting.shift(); inner !== undefined; inner = waiting.shift()) {
    for await (const entry of read(walk, join(path, inner), inner !== "")) {
      const name = inner === "" ? entry.name : `${inner}/${entry.name}`;
      if (entry.isDirectory()) waiting.push(name);
      else if (pattern.match(name)) yield shown(name, entry);
    }
  }
}

/** @param mayFail whether a directory that cannot be read is passed over */
async function* read(walk: Walk, path: string, mayFail = false): AsyncGenerator<Dirent> {
  if (walk.visited > walk.limits.visited_entries) return;
  const opened = await walk.workspace.open(path, "directory").catch((error: unknown) => {
    if (mayFail) return null;
    throw error;
  });
  if (opened === null) return;
  try {
    for await (const entry of await opendir(directoryOf(opened))) {
      walk.signal.throwIfAborted();
      if (++walk.visited > walk.limits.visited_entries) return;
      yield entry;
    }
  } finally {
    await opened.handle.close();
  }
}

/** A name may hold whatever a file system allows: one with a line break is shown as JSON. */
function shown(name: string, entry: Dirent): string {
  // oxlint-disable-next-line no-control-regex -- they are what is looked for
  const text = /[\u0000-\u001f\u007f]/.test(name) ? JSON.stringify(name) : name;
  return entry.isDirectory() ? `${text}/` : text;
}
