import { readFileSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { configTable } from "../src/config/print.ts";

/** `bun scripts/table.ts` writes the table of options into README.md, between these lines. */
const START = "<!-- config:start -->";
const END = "<!-- config:end -->";

/** What is with the table in `file`: there is none, it is as it should be, it was not (and is now, with `write`). */
export function refreshTable(file: string, write: boolean): "none" | "fresh" | "stale" | "written" {
  const text = readOr(file, "");
  const [start, end] = [text.indexOf(START), text.indexOf(END)];
  if (start < 0 || end < start) return "none";
  const fresh = `${text.slice(0, start)}${START}\n\n${configTable()}\n\n${text.slice(end)}`;
  if (fresh === text) return "fresh";
  if (!write) return "stale";
  writeFileSync(file, fresh);
  return "written";
}

function readOr(file: string, otherwise: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return otherwise;
    throw error;
  }
}

if (import.meta.main) {
  const state = refreshTable(resolve(import.meta.dir, "../README.md"), true);
  console.log(state === "none" ? `README.md has no ${START} and ${END}` : `table of options: ${state}`);
}
