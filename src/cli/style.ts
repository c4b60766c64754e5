import type { Io } from "./io.ts";

/** Quieter than what is around it, where a person reads it in colour. */
export function dim(io: Io, text: string): string {
  return io.tty && !io.env["NO_COLOR"] ? `\u001b[2m${text}\u001b[22m` : text;
}

/** Louder than what is around it, where a person reads it in colour. */
export function bold(io: Io, text: string): string {
  return io.tty && !io.env["NO_COLOR"] ? `\u001b[1m${text}\u001b[22m` : text;
}
