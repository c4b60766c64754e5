import { expect, test } from "bun:test";
import { Readable } from "node:stream";
import type { Io } from "../../src/cli/io.ts";
import { jsonLine, outJson } from "../../src/cli/io.ts";

const VALUE = { title: "a\u001b[2Jb\u009b31mc\u202ed\u2028e\u{e0001}f 👩‍👧 ü" };

function shown(tty: boolean, write: (io: Io) => void): string {
  const lines: string[] = [];
  const out = (line: string): void => void lines.push(line);
  const outlast = (): void => undefined;
  write({ env: {}, cwd: "/", stdin: Readable.from([]), tty, write: out, out, err: out, outlast });
  return lines.join("\n");
}

test.each([outJson, (io: Io, value: unknown) => io.out(jsonLine(io, value))])(
  "JSON at a terminal moves nothing there and is the same value; a program has it as it is",
  (write) => {
    const text = shown(true, (io) => write(io, VALUE));
    expect(text.replaceAll("\n", "")).not.toMatch(/[\p{Cc}\p{Zl}\u202e\u{e0001}]/u);
    expect(text).toContain("👩‍👧 ü");
    expect(JSON.parse(text)).toEqual(VALUE);
    expect(shown(false, (io) => write(io, VALUE))).toBe(JSON.stringify(VALUE));
  },
);
