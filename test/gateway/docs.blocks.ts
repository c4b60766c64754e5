import { readFileSync } from "node:fs";
import { resolve } from "node:path";

export const ROOT = resolve(import.meta.dir, "../..");

/** A fenced block of a document. */
export interface Block {
  /** The words after the fence: the language, then what a test is to make of it. */
  readonly words: readonly string[];
  readonly text: string;
  /** Where it begins, for messages. */
  readonly at: string;
}

export function blocksOf(file: string): Block[] {
  const blocks: Block[] = [];
  let open: { words: string[]; at: string; lines: string[] } | null = null;
  for (const [index, line] of readFileSync(resolve(ROOT, file), "utf8").split("\n").entries()) {
    if (!line.startsWith("```")) open?.lines.push(line);
    else if (open === null)
      open = { words: line.slice(3).trim().split(/\s+/), at: `${file}:${index + 1}`, lines: [] };
    else {
      blocks.push({ words: open.words, at: open.at, text: open.lines.join("\n") });
      open = null;
    }
  }
  return blocks;
}

/** Whether text is what a document shows of it: `…` stands for anything within a line, alone on a line for any lines. */
export function showsAs(shown: string, text: string): boolean {
  const pattern = shown
    .split("\n")
    .map((line) => (line === "…" ? "[^]*?" : line.split("…").map(escape).join("[^\\n]*?")))
    .join("\n")
    // Any lines may be no lines.
    .replaceAll("\n[^]*?\n", "\n(?:[^]*?\n)?");
  return new RegExp(`^${pattern}$`).test(text.trimEnd());
}

function escape(text: string): string {
  return text.replaceAll(/[.*+?^${}()|[\]\\/]/g, "\\$&");
}
