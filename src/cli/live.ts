import type { Io } from "./io.ts";
import { rowsOf } from "./rows.ts";

/** Rows of the terminal that are left alone, so that what is redrawn is never scrolled away: the prompt's. */
const MARGIN_ROWS = 3;
const ROWS = 24;
/** The terminal shows what comes between these at once: nothing flickers. */
const BEGIN = "\u001b[?2026h";
const END = "\u001b[?2026l";

/** Lines at the end of what the terminal shows that may still change. */
export interface Live {
  /** Puts these in place of what is live. Lines that are as they were are not written again. */
  show(lines: readonly string[]): void;
  /** What is live stays as it is from now on. */
  settle(): void;
  /** Writes above what is live. */
  above(write: () => void): void;
}

/** `beside` lets whole lines be written while a prompt may be on the screen. `size`: of the terminal. */
export function createLive(
  io: Pick<Io, "write">,
  beside: (write: () => void) => void,
  size: () => { columns: number; rows: number } = terminalSize,
): Live {
  let shown: readonly string[] = [];
  const draw = (lines: readonly string[]): void => {
    const from = firstChanged(shown, lines, size());
    if (from === shown.length && from === lines.length) return;
    const stale = shown.slice(from);
    const up = rowsOfAll(stale, size().columns);
    const fresh = lines.slice(from).map((line) => `${line}\n`);
    beside(() => io.write(`${BEGIN}${up > 0 ? `\u001b[${up}A\r\u001b[J` : ""}${fresh.join("")}${END}`));
    shown = lines;
  };
  return {
    show: draw,
    settle: () => (shown = []),
    above(write) {
      if (shown.length === 0) return beside(write);
      const lines = shown;
      // Only what is still on the screen can be moved down.
      const from = firstReachable(lines, size());
      const up = rowsOfAll(lines.slice(from), size().columns);
      beside(() => {
        io.write(`${up > 0 ? `\u001b[${up}A\r\u001b[J` : ""}`);
        write();
        for (const line of lines.slice(from)) io.write(`${line}\n`);
      });
      return undefined;
    },
  };
}

/** The first line that has to be drawn; those that have left the screen cannot be. */
function firstChanged(
  shown: readonly string[],
  next: readonly string[],
  size: { columns: number; rows: number },
): number {
  let same = 0;
  while (same < shown.length && same < next.length && shown[same] === next[same]) same++;
  return Math.max(same, firstReachable(shown, size));
}

function firstReachable(
  lines: readonly string[],
  { columns, rows }: { columns: number; rows: number },
): number {
  let room = Math.max(1, rows - MARGIN_ROWS);
  for (let index = lines.length; index > 0; index--) {
    room -= rowsOf(lines[index - 1] ?? "", columns);
    if (room < 0) return index;
  }
  return 0;
}

function rowsOfAll(lines: readonly string[], columns: number): number {
  return lines.reduce((sum, line) => sum + rowsOf(line, columns), 0);
}

function terminalSize(): { columns: number; rows: number } {
  return { columns: process.stdout.columns || 80, rows: process.stdout.rows || ROWS };
}
