import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Person, Stack } from "./stack.ts";
import { eventually, refusal, say, startStack } from "./stack.ts";

let stack: Stack;
let owner: Person;
let guest: Person;
beforeAll(async () => {
  stack = await startStack();
  ({ owner } = stack);
  guest = await stack.guest({ user: "searcher", scopes: ["chat.read", "chat.write", "sessions.manage"] });
});
afterAll(() => stack[Symbol.asyncDispose]());

interface Result {
  readonly session_id: string;
  readonly title: string;
  readonly message_id: string;
  readonly role: string;
  readonly snippet: string;
  readonly matches: { off: number; length: number }[];
}

async function search(person: Person, query: string, more: Record<string, unknown> = {}): Promise<Result[]> {
  const { results } = await person.call("session.search", { query, ...more });
  return results;
}

/** What is found, once it is as much as expected. */
function settles(person: Person, query: string, count: number): Promise<Result[]> {
  return eventually(
    () => search(person, query),
    (found) => found.length === count,
  );
}

test("what was said and what was answered, with the words shown; over REST as well", async () => {
  stack.model.reply().text("A pangolin is a scaly animal.");
  await say(owner, { session_id: "zoo", message: "What is a Pangolín?" });
  await owner.call("session.update", { session_id: "zoo", title: "Animals" });
  const found = await settles(owner, "pangolin", 2);
  expect(found.map(({ role, title, session_id }) => [role, title, session_id])).toEqual([
    ["assistant", "Animals", "zoo"],
    ["user", "Animals", "zoo"],
  ]);
  expect(
    found.flatMap(({ snippet, matches }) =>
      matches.map(({ off, length }) => snippet.slice(off, off + length)),
    ),
  ).toEqual(["pangolin", "Pangolín"]);
  const { status, json } = await owner.ask("GET", "/api/v1/search?query=scaly%20pang");
  expect(status).toBe(200);
  expect((json as { results: Result[] }).results.map(({ message_id }) => message_id)).toEqual([
    found[0]?.message_id ?? "",
  ]);
  expect(await search(owner, "pangolin", { session_id: "zoo", limit: 1 })).toHaveLength(1);
});

test("only what may be read: shared and taken back, by the gateway's name; deleted, it is gone", async () => {
  await owner.call("session.create", { session_id: "secret" });
  await owner.call("chat.inject", { session_id: "secret", role: "user", content: "the axolotl sleeps" });
  await settles(owner, "axolotl", 1);
  expect(await search(guest, "axolotl")).toEqual([]);
  await owner.call("session.share", { session_id: "secret", user: "searcher", role: "viewer" });
  const [seen] = await search(guest, "axolotl");
  expect(seen?.session_id).toStartWith("ses_");
  expect(await search(guest, "axolotl", { session_id: seen?.session_id })).toHaveLength(1);
  await owner.call("session.unshare", { session_id: "secret", user: "searcher" });
  expect(await search(guest, "axolotl")).toEqual([]);
  expect(
    await refusal(guest.call("session.search", { query: "axolotl", session_id: seen?.session_id })),
  ).toMatchObject({ code: "NOT_FOUND" });
  await owner.call("session.delete", { session_id: "secret" });
  expect(await search(owner, "axolotl")).toEqual([]);
});

test("page by page; what is no query or no cursor is refused", async () => {
  await owner.call("session.create", { session_id: "many" });
  for (let i = 0; i < 5; i++)
    await owner.call("chat.inject", { session_id: "many", role: "user", content: `ocelot ${i}` });
  await settles(owner, "ocelot", 5);
  const seen: string[] = [];
  let cursor: string | undefined;
  do {
    const page = await owner.call("session.search", { query: "ocelot", limit: 2, ...(cursor && { cursor }) });
    seen.push(...page.results.map(({ snippet }: Result) => snippet));
    cursor = page.next;
  } while (cursor !== undefined);
  expect(seen).toEqual([4, 3, 2, 1, 0].map((i) => `ocelot ${i}`));
  for (const params of [{ query: "…" }, { query: "a", cursor: "x" }]) {
    expect(await refusal(owner.call("session.search", params))).toMatchObject({ code: "INVALID_REQUEST" });
  }
  for (const hostile of [
    '" OR scope:u6f',
    "scope : s1",
    "words:*",
    "NEAR(a b)",
    "a AND NOT b",
    "-ocelot",
    '"""',
  ]) {
    const answer = await owner.call("session.search", { query: hostile }).catch((error: unknown) => error);
    expect(answer).toBeDefined();
    expect(await search(guest, hostile).catch(() => [])).toEqual([]);
  }
  expect(await search(owner, "NOT ocelot")).toEqual([]);
});
