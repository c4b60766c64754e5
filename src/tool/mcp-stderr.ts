import type { Clock, Logger } from "../core/ports.ts";
import type { Mask } from "./mcp-mask.ts";

const LINE_CHARS = 500;
const WINDOW_MS = 10_000;
const LINES_PER_WINDOW = 20;

/** What a tool server says besides its answers, as lines of the log: not longer and not more of them than help. */
export function createStderrLog(clock: Clock, log: Logger, mask: Mask): (bytes: Uint8Array) => void {
  const decoder = new TextDecoder();
  let line = "";
  let since = Number.NEGATIVE_INFINITY;
  let said = 0;
  let unsaid = 0;

  const say = (): void => {
    // Masked before it is cut: the beginning of a secret is one as well.
    const text = mask(line.trim()).slice(0, LINE_CHARS);
    line = "";
    if (text === "") return;
    const now = clock.monotonic();
    if (now - since > WINDOW_MS) {
      if (unsaid > 0) log.info({ unsaid }, "a tool server said more than is logged");
      since = now;
      said = 0;
      unsaid = 0;
    }
    if (said++ < LINES_PER_WINDOW) log.info({ text }, "a tool server said");
    else unsaid++;
  };

  return (bytes) => {
    const [first = "", ...rest] = decoder.decode(bytes, { stream: true }).split("\n");
    // Kept longer than it is logged, so that a secret at the cut is found whole.
    line = (line + first).slice(0, LINE_CHARS * 4);
    for (const next of rest) {
      say();
      line = next.slice(0, LINE_CHARS * 4);
    }
  };
}
