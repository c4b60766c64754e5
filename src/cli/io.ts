import { writeSync } from "node:fs";
import type { Readable } from "node:stream";

/** Line ends, and what joins the parts of an emoji, aside. */
const UNSEEN = /(?![\n\u200c\u200d])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;

/** What a command may touch of the process around it. */
export interface Io {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  readonly stdin: Readable & { readonly isTTY?: boolean };
  /** Whether a person reads stdout. */
  readonly tty: boolean;
  /** To stdout, as it is. */
  write(text: string): void;
  /** A line to stdout. */
  out(line: string): void;
  /** A line to stderr. */
  err(line: string): void;
  /** From here on it goes on where nobody reads what it says any more. */
  outlast(): void;
}

export function processIo(): Io {
  const tty = process.stdout.isTTY === true;
  let outlasts = false;
  process.stdout.on("error", ({ code, message }: NodeJS.ErrnoException) => {
    // A terminal that is gone says so by a signal.
    if (outlasts || (tty && code === "EIO")) return;
    // Whoever read us has enough, as in `agentbus watch … | head`.
    if (code === "EPIPE") process.exit(0);
    tellNow(`agentbus: not everything could be written to stdout: ${message}`);
    process.exit(1);
  });
  process.stderr.on("error", ({ code }: NodeJS.ErrnoException) => {
    if (code !== "EIO" && !outlasts) process.exit(1);
  });
  return {
    env: process.env,
    cwd: process.cwd(),
    stdin: process.stdin,
    tty,
    write: (text) => void process.stdout.write(text),
    out: (line) => void process.stdout.write(`${line}\n`),
    err: (line) => void process.stderr.write(`${line}\n`),
    outlast: () => void (outlasts = true),
  };
}

/** On stderr, before the process ends. */
function tellNow(line: string): void {
  try {
    writeSync(2, `${line}\n`);
  } catch {
    // The exit code says it.
  }
}

/** The value as JSON: readable for a person, one line for a program. */
export function outJson(io: Io, value: unknown): void {
  io.out(io.tty ? escaped(JSON.stringify(value, null, 2)) : JSON.stringify(value));
}

/** The value as JSON in one line. */
export function jsonLine(io: Io, value: unknown): string {
  const text = JSON.stringify(value);
  return io.tty ? escaped(text) : text;
}

/** JSON of one line or more, without what JSON.stringify leaves in that would move or reorder a terminal. */
export function escaped(json: string): string {
  return json.replaceAll(UNSEEN, (character) =>
    Array.from({ length: character.length }, (_, at) => {
      const unit = character.charCodeAt(at).toString(16).padStart(4, "0");
      return `\\u${unit}`;
    }).join(""),
  );
}

/** Everything that is piped in. */
export async function readStdin(io: Io): Promise<string> {
  let text = "";
  const decoder = new TextDecoder();
  for await (const chunk of io.stdin) {
    text += typeof chunk === "string" ? chunk : decoder.decode(chunk as Uint8Array, { stream: true });
  }
  return text + decoder.decode();
}
