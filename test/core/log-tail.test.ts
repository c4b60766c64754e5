import { expect, test } from "bun:test";
import { LogTail } from "../../src/core/log-tail.ts";
import type { LogEntry } from "../../src/core/log-tail.ts";
import { createLogger, tapLog } from "../../src/log.ts";
import { silentLog } from "../support/engine.ts";

const TIME = "2026-11-29T12:00:00.000Z";

function line(msg: string, level = "info", more: Record<string, unknown> = {}): string {
  return `${JSON.stringify({ level, time: TIME, ...more, msg })}\n`;
}

function messages(lines: readonly LogEntry[]): string[] {
  return lines.map(({ message }) => message);
}

test("the newest lines, then those that follow, each once", () => {
  const tail = new LogTail(100);
  for (const msg of ["a", "b", "c"]) tail.take(line(msg));
  const newest = tail.read({ limit: 2 });
  expect(messages(newest.lines)).toEqual(["b", "c"]);
  expect(newest).toMatchObject({ next: 103, gap: false });
  expect(newest.lines[0]).toEqual({
    seq: 102,
    ts: Date.parse(TIME),
    level: "info",
    message: "b",
    fields: {},
  });
  expect(tail.read({ limit: 2, after: 103 })).toEqual({ lines: [], next: 103, gap: false });
  for (const msg of ["d", "e", "f"]) tail.take(line(msg));
  const page = tail.read({ limit: 2, after: 103 });
  expect([messages(page.lines), page.next]).toEqual([["d", "e"], 105]);
  expect(messages(tail.read({ limit: 2, after: page.next }).lines)).toEqual(["f"]);
});

test("of a level at least, of one component; what is passed over is not asked for again", () => {
  const tail = new LogTail(0);
  tail.take(line("quiet", "debug"));
  tail.take(line("said", "info", { component: "store", bytes: 3 }));
  tail.take(line("loud", "error", { component: "run" }));
  tail.take(line("more", "info"));
  expect(messages(tail.read({ limit: 9, level: "warn" }).lines)).toEqual(["loud"]);
  const { lines, next } = tail.read({ limit: 9, after: 0, component: "store" });
  expect(lines).toMatchObject([{ message: "said", component: "store", fields: { bytes: 3 } }]);
  expect(next).toBe(4);
});

test("it is bounded in lines and bytes, and says so where some are gone; a cursor of an earlier process begins anew", () => {
  const tail = new LogTail(1_000_000);
  for (let i = 1; i <= 5_000; i++) tail.take(line(`line ${i}`));
  const page = tail.read({ limit: 500, after: 1_000_000 });
  expect(page.gap).toBe(true);
  expect(page.lines).toHaveLength(500);
  expect(tail.read({ limit: 1, after: 1_005_000 })).toMatchObject({ lines: [], gap: false });
  expect(messages(tail.read({ limit: 1, after: 9_000_000 }).lines)).toEqual(["line 5000"]);
  expect(tail.read({ limit: 1, after: 5 })).toMatchObject({ gap: true });
  const long = new LogTail(0);
  for (let i = 0; i < 1_000; i++) long.take(line("x".repeat(100), "info", { more: "y".repeat(7_000) }));
  let kept = 0;
  for (let after = 0; ;) {
    const { lines, next } = long.read({ limit: 500, after });
    if (lines.length === 0) break;
    expect(JSON.stringify(lines).length).toBeLessThan(256 * 1024);
    kept += lines.length;
    after = next;
  }
  expect(kept).toBeLessThan(150);
});

test("a line that is too long keeps its message, and the beginning of that", () => {
  const tail = new LogTail(0);
  tail.take(line("m".repeat(5_000), "error", { component: "store", secret: "z".repeat(20_000) }));
  const [entry] = tail.read({ limit: 1 }).lines;
  expect(entry).toMatchObject({ level: "error", component: "store", fields: { truncated: true } });
  expect(entry?.message).toHaveLength(1_024);
});

test("what is heard is what is written: hidden is hidden, and what the level leaves out does not come", () => {
  const written: string[] = [];
  const config = { level: "info", levels: {}, format: "json", content: false } as const;
  const log = createLogger(config, { write: (text) => written.push(text) });
  const tail = new LogTail(0);
  tapLog(log, (text) => tail.take(text));
  log.debug({}, "left out");
  log
    .child({ component: "auth" })
    .warn({ token: "agb_x", deep: { password: "p" }, text: "said" }, "kept\nwhole");
  const { lines } = tail.read({ limit: 9 });
  expect(lines).toMatchObject([
    {
      level: "warn",
      component: "auth",
      message: "kept\nwhole",
      fields: { token: "[redacted]", deep: { password: "[redacted]" }, text: "[redacted]" },
    },
  ]);
  expect(written).toHaveLength(1);
  expect(tail.counts).toEqual({ debug: 0, info: 0, warn: 1, error: 0 });
  // One that a program brought along is nobody's to listen to.
  tapLog(silentLog, () => expect.unreachable());
  silentLog.info({}, "x");
});
