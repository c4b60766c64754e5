import { expect, test } from "bun:test";
import type { LogConfig } from "../../src/log.ts";
import { createLogger, reconfigure } from "../../src/log.ts";

/** What a logger of this configuration writes while `use` has it. */
function written(config: Partial<LogConfig>, use: (log: ReturnType<typeof createLogger>) => void): string[] {
  const chunks: string[] = [];
  use(
    createLogger(
      { level: "info", levels: {}, format: "json", content: false, ...config },
      { write: (chunk) => chunks.push(chunk) },
    ),
  );
  return chunks.join("").trimEnd().split("\n");
}

function parsed(lines: readonly string[]): Record<string, unknown>[] {
  return lines.map((line) => {
    const { time, ...rest } = JSON.parse(line) as Record<string, unknown>;
    expect(Date.parse(time as string)).toBeGreaterThan(0);
    return rest;
  });
}

test("a line is one JSON object with a level, a time, the fields and the message", () => {
  const lines = written({}, (log) => {
    log.info({ connection_id: "con_1" }, "connected");
    log.child({ run_id: "run_1" }).warn({ attempt: 2 }, "tried again");
  });
  expect(parsed(lines)).toEqual([
    { level: "info", connection_id: "con_1", msg: "connected" },
    { level: "warn", run_id: "run_1", attempt: 2, msg: "tried again" },
  ]);
});

test("what is below the level is not written", () => {
  const all = (log: ReturnType<typeof createLogger>): void => {
    log.debug({}, "debug");
    log.info({}, "info");
    log.warn({}, "warn");
    log.error({}, "error");
  };
  expect(parsed(written({ level: "warn" }, all)).map(({ msg }) => msg)).toEqual(["warn", "error"]);
  expect(parsed(written({ level: "debug" }, all))).toHaveLength(4);
  expect(written({ level: "silent" }, all)).toEqual([""]);
});

test("a component may have a level of its own, and another one while it runs", () => {
  const lines = written({ levels: { store: "debug", auth: "error" } }, (log) => {
    const [store, auth] = [log.child({ component: "store" }), log.child({ component: "auth" })];
    const inner = store.child({ run_id: "run_1" });
    const all = (at: string): void => {
      for (const each of [log, auth, inner]) {
        each.debug({ at }, "debug");
        each.warn({ at }, "warn");
      }
    };
    all("first");
    reconfigure(log, { level: "debug", levels: { store: "silent" }, format: "json", content: false });
    all("then");
  });
  expect(parsed(lines).map(({ at, component = "", msg }) => [at, component, msg])).toEqual([
    ["first", "", "warn"],
    ["first", "store", "debug"],
    ["first", "store", "warn"],
    ["then", "", "debug"],
    ["then", "", "warn"],
    ["then", "auth", "debug"],
    ["then", "auth", "warn"],
  ]);
});

test("secrets are masked by the name of their field, at every depth, in children and in lists", () => {
  const secrets = { token: "S1", auth_token: "S2", session_token: "S3", ticket: "S4", authorization: "S5" };
  const more = { password: "S6", api_key: "S7", headers: { "x-key": "S8" }, api_keys: ["S9"] };
  const text = written({ content: true }, (log) => {
    log.info({ ...secrets, ...more, token_id: "tok_1" }, "flat");
    log.info({ a: { ...secrets, b: { ...more, c: { ...secrets } } }, list: [{ ...more }] }, "deep");
    log.child({ ...secrets, request: { ...more } }).error({}, "child");
  }).join("\n");
  expect(text).not.toMatch(/S\d/);
  expect(text).toContain('"token_id":"tok_1"');
  expect(text).toContain("[redacted]");
});

test("prompts and answers are written only where log.content asks for it", () => {
  const say = (log: ReturnType<typeof createLogger>): void =>
    log.info(
      { content: "hello", part: { text: "hello", delta: "hello" }, system_prompt: "hello", length: 5 },
      "said",
    );
  expect(written({}, say).join("")).not.toContain("hello");
  expect(parsed(written({}, say))[0]).toMatchObject({ length: 5, content: "[redacted]" });
  expect(parsed(written({ content: true }, say))[0]).toMatchObject({
    content: "hello",
    part: { text: "hello" },
  });
});

test("an error is its name, message, stack and cause, without what a library hung on to it", () => {
  const error = Object.assign(new TypeError("broken", { cause: new Error("below") }), {
    request: { key: "S1" },
  });
  const [line] = parsed(written({}, (log) => log.error({ err: error }, "failed")));
  expect(line?.["err"]).toEqual({
    type: "TypeError",
    message: "broken",
    stack: expect.stringContaining("broken"),
    cause: { type: "Error", message: "below", stack: expect.stringContaining("below") },
  });
});

test.each(["json", "pretty"] as const)("nobody can write a line of their own: %s", (format) => {
  const lines = written({ format }, (log) =>
    log.info({ user: 'x"\r\n{"level":"error"}\u001b[31m' }, "hello\r\n[12:00:00] ERROR: forged\u001b[2J"),
  );
  expect(lines).toHaveLength(1);
  expect(lines[0]).not.toContain("\r");
  expect(lines[0]).not.toContain("\u001b");
});
