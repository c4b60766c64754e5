import { afterAll, beforeAll, expect, test } from "bun:test";
import { exportSessions } from "../../src/cli/export.ts";
import type { Client } from "../../src/client/client.ts";
import { createClient } from "../../src/client/client.ts";
import type { FetchLike } from "../../src/client/options.ts";
import { upload } from "./files.fixture.ts";
import type { Person, Stack } from "./stack.ts";
import { startStack } from "./stack.ts";

let stack: Stack;
beforeAll(async () => {
  stack = await startStack();
});
afterAll(() => stack[Symbol.asyncDispose]());

/** Something that happens on the gateway when a request is about to be sent. */
type Meanwhile = (method: string, params: Record<string, unknown>) => Promise<void>;

/** What is exported of somebody while things happen. */
async function exported(person: Person, meanwhile: Meanwhile, send: FetchLike = fetch) {
  const client = createClient({ url: stack.gateway.url, auth_token: person.token, fetch: send });
  await client.connect();
  const request = async (method: string, params: Record<string, unknown>) => {
    await meanwhile(method, params);
    return client.request(method as "session.get", params as { session_id: string });
  };
  const lines: Record<string, unknown>[] = [];
  const errors: string[] = [];
  const out = async (line: object): Promise<void> => void lines.push(line as Record<string, unknown>);
  const reader = { hello: client.hello, request: request as Client["request"], download: client.download };
  try {
    const done = await exportSessions(reader, [], out, { err: (line) => void errors.push(line) });
    return { done, lines, errors, names: namesIn(lines) };
  } finally {
    client.disconnect();
  }
}

function namesIn(lines: readonly Record<string, unknown>[]): string[] {
  return lines.flatMap(({ type, session }) =>
    type === "session" ? [(session as { session_id: string }).session_id] : [],
  );
}

test("a session that is written to while the list is read is in the export, once", async () => {
  const ann = await stack.guest({ user: "ann", role: "user" });
  const names = Array.from({ length: 205 }, (_, n) => `s${n}`);
  for (const session_id of names) await ann.call("session.create", { session_id });
  let moved = 0;
  const { done, names: found } = await exported(ann, async (method, { cursor }) => {
    if (method !== "session.list" || cursor === undefined || moved > 0) return;
    // The oldest, which the second page would have had.
    for (const session_id of ["s0", "s1"]) {
      await ann.call("session.update", { session_id, title: "Moved" });
      moved++;
    }
  });
  expect(moved).toBe(2);
  expect(found.toSorted()).toEqual(names.toSorted());
  expect(done).toEqual({ sessions: 205, deleted: 0 });
});

test("one that is deleted meanwhile ends nothing: it is left out, said so, and what is half written is marked", async () => {
  const bob = await stack.guest({ user: "bob", role: "user" });
  for (const session_id of ["kept", "cut", "gone"]) {
    await bob.call("session.create", { session_id });
    await bob.call("chat.inject", { session_id, role: "user", content: "hello" });
  }
  const deletedAt = new Map([
    ["gone", "session.get"],
    ["cut", "chat.history"],
  ]);
  const { done, lines, errors, names } = await exported(bob, async (method, { session_id }) => {
    const name = String(session_id);
    if (deletedAt.get(name) !== method) return;
    deletedAt.delete(name);
    await bob.call("session.delete", { session_id });
  });
  expect(done).toEqual({ sessions: 1, deleted: 2 });
  expect(names.toSorted()).toEqual(["cut", "kept"]);
  expect(lines.filter(({ type }) => type === "end")).toEqual(
    expect.arrayContaining([
      { type: "end", session_id: "kept", messages: 1 },
      { type: "end", session_id: "cut", messages: 0, deleted: true },
    ]),
  );
  expect(errors.toSorted()).toEqual([
    "agentbus: cut was deleted meanwhile: it is left out",
    "agentbus: gone was deleted meanwhile: it is left out",
  ]);
});

test("one that is deleted while a file of it is sent is left out, too", async () => {
  const cat = await stack.guest({ user: "cat", role: "user" });
  const { attachment_id } = await upload(stack, cat, "x".repeat(1_000_000));
  for (const [session_id, attachments] of [
    ["kept", []],
    ["cut", [attachment_id]],
  ] as const) {
    await cat.call("session.create", { session_id });
    await cat.call("chat.inject", { session_id, role: "user", content: "hello", attachments });
  }
  /** The connection ends behind the head of the answer. */
  const cutting: FetchLike = async (url, init) => {
    const answer = await fetch(url, init);
    if (!url.endsWith(attachment_id)) return answer;
    await cat.call("session.delete", { session_id: "cut" });
    await answer.body?.cancel();
    return new Response(new ReadableStream({ pull: (body) => body.error(new TypeError("closed")) }), answer);
  };
  const { done, lines } = await exported(cat, async () => undefined, cutting);
  expect(done).toEqual({ sessions: 1, deleted: 1 });
  expect(lines.filter(({ type }) => type === "end")).toEqual([
    { type: "end", session_id: "cut", messages: 0, deleted: true },
    { type: "end", session_id: "kept", messages: 1 },
  ]);
});
