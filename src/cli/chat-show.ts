import type { Show, ToolUse } from "./answer-show.ts";
import type { Io } from "./io.ts";
import { dim } from "./style.ts";
import { visible } from "./table.ts";

/** A Show that knows whether it is at the beginning of a line. */
export interface LineShow extends Show {
  /** Ends the line that is being written. */
  endLine(): void;
}

/** Columns of a note where no terminal says how many there are. */
const COLUMNS = 200;
/** Brackets around a note. */
const FRAME = 2;

/** For a person: what is beside the answer is quieter, and on lines of its own. `beside` may write once the prompt is out of the way. */
export function terminalShow(io: Io, beside: (write: () => void) => void): LineShow {
  const line = lineOf(io);
  return {
    ...showing(line, (text) =>
      beside(() => {
        line.end();
        io.out(dim(io, `[${text}]`));
      }),
    ),
    reasoning: (text) => line.write(dim(io, text), text),
  };
}

/** For a program: the answer alone on stdout, the rest on stderr. */
export function pipedShow(io: Io, json: boolean): LineShow {
  const line = lineOf(json ? { ...io, write: () => undefined } : io);
  let noted = false;
  const show = showing(line, (text) => {
    noted = true;
    io.err(text);
  });
  return {
    ...show,
    text(text) {
      if (noted) line.end();
      noted = false;
      line.write(text);
    },
  };
}

function showing(line: ReturnType<typeof lineOf>, note: (text: string) => void): LineShow {
  return {
    text: (text) => line.write(text),
    reasoning: () => undefined,
    call: (use) => note(fitted(`calls ${callText(use)}`)),
    result: ({ name, result }) => {
      const how = result.ok ? "ok" : "failed";
      note(fitted(`${oneLine(name)}: ${how}: ${oneLine(result.content)}`));
    },
    note,
    endLine: () => line.end(),
  };
}

function lineOf(io: Io) {
  let begun = false;
  return {
    /** `text`: what of it can be seen. */
    write(styled: string, text = styled): void {
      if (text === "") return;
      io.write(styled);
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
