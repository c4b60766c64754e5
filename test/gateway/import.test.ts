import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Person, Stack } from "./stack.ts";
import { refusal, startStack } from "./stack.ts";

let stack: Stack;
let owner: Person;
beforeAll(async () => {
  stack = await startStack();
  ({ owner } = stack);
});
afterAll(() => stack[Symbol.asyncDispose]());

const digest = (n: number): string => String(n).padStart(64, "0");
const said = (content: string) => ({
  role: "user",
  status: "complete",
  content,
  timestamp: 1_770_000_000_000,
});

test("a session that comes in is there for nobody before its last request, then for its owner alone", async () => {
  const guest = await stack.guest({ user: "ann", role: "user" });
  const sent = { session: { digest: digest(1), name: "later", title: "Later" }, messages: [said("one")] };
  const { status, import_id } = await guest.call("session.import", sent);
  expect(status).toBe("open");
  const { sessions } = await guest.call("session.list");
  expect(sessions).toEqual([]);
  expect(await refusal(guest.call("session.get", { session_id: "later" }))).toMatchObject({
    code: "NOT_FOUND",
  });
  expect(JSON.stringify(await owner.call("user.list"))).not.toContain("import");
  expect(await refusal(owner.call("session.import", { import_id, done: true }))).toMatchObject({
    code: "NOT_FOUND",
  });
  const done = await guest.call("session.import", { import_id, messages: [said("two")], done: true });
  expect(done).toMatchObject({ status: "done", session_id: "later", messages: 2 });
  const { messages, epoch } = await guest.call("chat.history", { session_id: "later" });
  expect(messages).toMatchObject([{ content: "one", timestamp: 1_770_000_000_000 }, { content: "two" }]);
  const socket = await guest.connect();
  const opened = await socket.request("session.subscribe", { session_id: "later" });
  expect(opened).toMatchObject({ mode: "snapshot", epoch });
  await socket[Symbol.asyncDispose]();
  expect(await refusal(owner.call("session.get", { session_id: "later" }))).toMatchObject({
    code: "NOT_FOUND",
  });
  expect(await guest.call("session.import", { session: { digest: digest(1) }, done: true })).toMatchObject({
    status: "skipped",
    session_id: "later",
  });
  // The same of somebody else is another.
  expect(await owner.call("session.import", { session: { digest: digest(1) }, done: true })).toMatchObject({
    status: "done",
  });
});

test("a time that is none of any date is refused, and said so", async () => {
  const messages = [{ ...said("one"), timestamp: 8_640_000_000_000_001 }];
  expect(
    await refusal(owner.call("session.import", { session: { digest: digest(90) }, messages })),
  ).toMatchObject({
    code: "INVALID_REQUEST",
    details: { kind: "schema", path: "messages.0.timestamp" },
    message: expect.stringContaining("8640000000000000"),
  });
});

test("half of one is worth nothing: what is refused ends it, and so does a restart", async () => {
  const begin = (n: number) =>
    owner.call("session.import", {
      session: { digest: digest(n), name: `half-${n}` },
      messages: [said("one")],
    });
  const { import_id } = await begin(2);
  const files = { ...said("x"), parts: [{ type: "attachment", attachment_id: "att_none" }] };
  const lost = await refusal(owner.call("session.import", { import_id, messages: [files], done: true }));
  expect(lost).toMatchObject({ code: "NOT_FOUND", details: { kind: "attachment" } });
  expect(await refusal(owner.call("session.import", { import_id, done: true }))).toMatchObject({
    details: { kind: "import" },
  });
  const open = await Promise.all([begin(3), begin(4), begin(5), begin(6)]);
  expect(await refusal(begin(7))).toMatchObject({ code: "CONFLICT", details: { kind: "full" } });
  stack.gateway.kill("SIGKILL");
  await stack.gateway.exited;
  await stack.gateway.restart();
  const again = owner.call("session.import", { import_id: open[0].import_id, done: true });
  expect(await refusal(again)).toMatchObject({ details: { kind: "import" } });
  const { sessions } = await owner.call("session.list");
  expect(JSON.stringify(sessions)).not.toContain("half");
  expect(await begin(3)).toMatchObject({ status: "open" });
});

test("who may only read brings nothing in, and what is no session is refused", async () => {
  const reader = await stack.guest({ user: "eve", role: "viewer" });
  const one = { session: { digest: digest(9) }, done: true };
  expect(await refusal(reader.call("session.import", one))).toMatchObject({ code: "FORBIDDEN" });
  expect(await refusal(owner.call("session.import", { done: true }))).toMatchObject({
    code: "INVALID_REQUEST",
  });
  const long = { ...said("x".repeat(600 * 1024)) };
  expect(await refusal(owner.call("session.import", { ...one, messages: [long] }))).toMatchObject({
    code: "TOO_LARGE",
  });
  const title = { session: { digest: digest(9), title: "x".repeat(201) }, done: true };
  expect(await refusal(owner.call("session.import", title))).toMatchObject({ code: "TOO_LARGE" });
});
