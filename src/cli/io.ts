import type { Readable } from "node:stream";

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
}

export function processIo(): Io {
  // Whoever read us has enough, as in `agentbus watch … | head`.
  process.stdout.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? 0 : 1));
  return {
    env: process.env,
    cwd: process.cwd(),
    stdin: process.stdin,
    tty: process.stdout.isTTY === true,
    write: (text) => void process.stdout.write(text),
    out: (line) => void process.stdout.write(`${line}\n`),
    err: (line) => void process.stderr.write(`${line}\n`),
  };
}

/** The value as JSON: readable for a person, one line for a program. */
export function outJson(io: Io, value: unknown): void {
  io.out(io.tty ? JSON.stringify(value, null, 2) : JSON.stringify(value));
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
