import type { Show, ToolUse } from "./answer-show.ts";
import type { Io } from "./io.ts";
import { createLive } from "./live.ts";
import { MarkdownShow } from "./markdown-show.ts";
import { dim } from "./style.ts";
import { visible } from "./table.ts";
import { createWaiting } from "./waiting.ts";

/** A Show that knows whether it is at the beginning of a line. */
export interface LineShow extends Show {
  /** Ends the line that is being written. */
  endLine(): void;
}

/** Columns of a note where no terminal says how many there are. */
const COLUMNS = 200;
/** Brackets around a note. */
const FRAME = 2;

/** A Show that can say that nothing comes yet. */
export interface TerminalShow extends LineShow {
  /** Says so until something comes. */
  wait(): void;
  /** A line of its own, above what is being written. */
  line(text: string): void;
}

/**
 * For a person: the answer as Markdown, what is beside it quieter and on lines of its own. `beside` may write whole lines once
 * the prompt is out of the way.
 */
export function terminalShow(io: Io, beside: (write: () => void) => void): TerminalShow {
  const live = createLive(io, beside);
  const waiting = createWaiting(live, (text) => dim(io, text));
  const columns = (): number => process.stdout.columns || COLUMNS;
  const shared = {
    live,
    columns,
    now: () => performance.now(),
    after: (ms: number, task: () => void) => void setTimeout(task, ms),
  };
  const answer = new MarkdownShow({ ...shared, colors: !io.env["NO_COLOR"] });
  const thought = new MarkdownShow({ ...shared, colors: false, style: (line) => dim(io, line) });
  const end = (): void => {
    waiting.stop();
    thought.end();
    answer.end();
  };
  const above = (text: string): void => live.above(() => io.out(text));
  const note = (text: string): void => above(dim(io, `[${visible(text)}]`));
  const notes = notesOf((text) => {
    end();
    note(text);
    waiting.start();
  });
  return {
    ...notes,
    note,
    text(text) {
      waiting.stop();
      thought.end();
      answer.push(text);
    },
    reasoning(text) {
      waiting.stop();
      answer.end();
      thought.push(text);
    },
    wait: waiting.start,
    line: above,
    endLine: end,
  };
}

/** For a program: the answer alone on stdout, the rest on stderr. */
export function pipedShow(io: Io, json: boolean): LineShow {
  const line = lineOf(json ? { ...io, write: () => undefined } : io);
  let noted = false;
  const note = (text: string): void => {
    noted = true;
    io.err(visible(text));
  };
  return {
    ...notesOf(note),
    note,
    reasoning: () => undefined,
    endLine: () => line.end(),
    text(text) {
      if (noted) line.end();
      noted = false;
      line.write(text);
    },
  };
}

/** Calls of tools and what came of them, a line each. */
function notesOf(note: (text: string) => void): Pick<Show, "call" | "result"> {
  return {
    call: (use) => note(fitted(`calls ${callText(use)}`)),
    result: ({ name, result }) => {
      const how = result.ok ? "ok" : "failed";
      note(fitted(`${oneLine(name)}: ${how}: ${oneLine(result.content)}`));
    },
  };
}

function lineOf(io: Io) {
  let begun = false;
  return {
    write(text: string): void {
      if (text === "") return;
      io.write(text);
      begun = !text.endsWith("\n");
    },
    end(): void {
      if (begun) io.write("\n");
      begun = false;
    },
  };
}

/** A call as a person reads it: nothing of it moves the cursor. */
export function callText(use: Pick<ToolUse, "name" | "arguments">): string {
  return `${oneLine(use.name)} ${oneLine(use.arguments)}`;
}

function oneLine(text: string): string {
  return visible(text.replaceAll(/\s+/g, " ").trim());
}

/** As much of a note as a line of the terminal has room for. */
function fitted(text: string): string {
  const columns = (process.stdout.columns || COLUMNS) - FRAME;
  let width = 0;
  let shown = "";
  for (const character of text) {
    width += Bun.stringWidth(character);
    if (width >= columns) return `${shown}…`;
    shown += character;
  }
  return text;
}
