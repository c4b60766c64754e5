import { renderUnicodeCompact } from "uqr";
import type { Io } from "./io.ts";

/** The light edge that scanners need, in modules. */
const BORDER = 2;
/** White on black whatever the terminal's own colours are: a scanner wants the code the right way round. */
const WHITE_ON_BLACK = "\u001b[97;40m";
const PLAIN = "\u001b[0m";

/** A QR code in lines of text. */
export function qrLines(io: Io, text: string): string[] {
  const lines = renderUnicodeCompact(text, { border: BORDER }).split("\n");
  return io.env["NO_COLOR"] ? lines : lines.map((line) => `${WHITE_ON_BLACK}${line}${PLAIN}`);
}
