import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Person, Stack } from "./stack.ts";
import { refusal, say, startStack } from "./stack.ts";

const KIB = 1024;

let stack: Stack;
let owner: Person;
beforeAll(async () => {
  stack = await startStack();
  ({ owner } = stack);
});
afterAll(() => stack[Symbol.asyncDispose]());

interface Listed {
  readonly session_id: string;
  readonly updated_at: number;
}

/** Every page of a list; each but the last says where the next begins. */
async function pages(person: Person, params: Record<string, unknown>, bound = 50): Promise<Listed[][]> {
  const all: Listed[][] = [];
  for (let cursor: string | undefined; all.length < bound;) {
    const page = await person.call("session.list", { ...params, ...(cursor !== undefined && { cursor }) });
    all.push(page.sessions);
    cursor = page.next;
    if (cursor === undefined) return all;
  }
  throw new Error(`more than ${bound} pages`);
}

/** What follows is newer: two changes of one millisecond have no order. */
async function later(): Promise<void> {
  const now = Date.now();
  while (Date.now() === now) await Bun.sleep(1);
}

function ids(sessions: readonly Listed[]): string[] {
  return sessions.map(({ session_id }) => session_id);
}

describe("session.list", () => {
  test("newest first, page by page, each once; what is shared stands among them", async () => {
    const bea = await stack.guest({ user: "bea", role: "user" });
    const cal = await stack.guest({ user: "cal", role: "user" });
    const names = Array.from({ length: 23 }, (_, i) => `page-${i}`);
    for (const session_id of names) await bea.call("session.create", { session_id });
    await cal.call("session.create", { session_id: "lent" });
    await cal.call("session.share", { session_id: "lent", user: "bea", role: "viewer" });
    const [whole = []] = await pages(bea, { limit: 200 });
    expect(whole).toHaveLength(24);
    expect(whole.map(({ updated_at }) => updated_at)).toEqual(
      whole.map((each) => each.updated_at).toSorted((a, b) => b - a),
    );
    expect(
      ids(whole)
        .filter((id) => !id.startsWith("ses_"))
        .toSorted(),
    ).toEqual(names.toSorted());
    for (const limit of [1, 5, 8, 24]) {
      const paged = await pages(bea, { limit });
      expect(paged.map((page) => page.length)).toEqual([
        ...Array.from({ length: Math.floor(24 / limit) }, () => limit),
        ...(24 % limit === 0 ? [] : [24 % limit]),
      ]);
      expect(paged.flat()).toEqual(whole);
    }
    // What changes goes to the front, and pages that follow lose nothing of the rest.
    const first = await bea.call("session.list", { limit: 5 });
    await later();
    await bea.call("session.update", { session_id: whole[20]?.session_id, title: "changed" });
    const rest = await pages(bea, { limit: 50, cursor: first.next });
    const missing = new Set(ids(whole).slice(5)).difference(new Set(ids(rest.flat())));
    expect([...missing]).toEqual([whole[20]?.session_id ?? ""]);
    expect(ids((await bea.call("session.list", { limit: 1 })).sessions)).toEqual([
      whole[20]?.session_id ?? "",
    ]);
  });

  test("by title or own name, in any case", async () => {
    const dan = await stack.guest({ user: "dan", role: "user" });
    await dan.call("session.create", { session_id: "alpha", title: "Grocery List" });
    await dan.call("session.create", { session_id: "beta", title: "ÄPFEL 100%" });
    await dan.call("session.create", { session_id: "Gamma-list", title: "" });
    const find = async (query: string): Promise<string[]> =>
      ids((await dan.call("session.list", { query })).sessions).sort();
    expect(await find("LIST")).toEqual(["Gamma-list", "alpha"]);
    expect(await find("grocery")).toEqual(["alpha"]);
    expect(await find("äpfel")).toEqual(["beta"]);
    expect(await find("gamma")).toEqual(["Gamma-list"]);
    expect(await find("%")).toEqual(["beta"]);
    expect(await find("_")).toEqual([]);
    expect(await find("'; DROP TABLE sessions; --")).toEqual([]);
    expect(await find("")).toEqual(["Gamma-list", "alpha", "beta"]);
    // The name of a session is its owner's: whoever it is shared with cannot find out.
    await dan.call("session.share", { session_id: "alpha", user: "eve", role: "viewer" });
    const eve = await stack.guest({ user: "eve", role: "user" });
    expect((await eve.call("session.list", { query: "alpha" })).sessions).toEqual([]);
    expect((await eve.call("session.list", { query: "grocery" })).sessions).toHaveLength(1);
  });

  test("archived or not, and what changed after a time", async () => {
    const fay = await stack.guest({ user: "fay", role: "user" });
    await fay.call("session.create", { session_id: "a" });
    const b = await fay.call("session.create", { session_id: "b" });
    await later();
    await fay.call("session.update", { session_id: "a", archived: true });
    const list = async (params: Record<string, unknown>): Promise<string[]> =>
      ids((await fay.call("session.list", params)).sessions);
    expect(await list({})).toEqual(["a", "b"]);
    expect(await list({ archived: true })).toEqual(["a"]);
    expect(await list({ archived: false })).toEqual(["b"]);
    const { updated_at } = await fay.call("session.get", { session_id: "a" });
    expect(updated_at).toBeGreaterThan(b.updated_at);
    expect(await list({ updated_after: b.updated_at })).toEqual(["a"]);
    expect(await list({ updated_after: updated_at })).toEqual([]);
    expect(await list({ updated_after: 0 })).toEqual(["a", "b"]);
  });

  test("never has system prompts, and at most 256 KiB", async () => {
    const gus = await stack.guest({ user: "gus", role: "user" });
    const metadata = { text: "x".repeat(8 * KIB - 11) };
    for (let i = 0; i < 70; i++) {
      await gus.call("session.create", { session_id: `big-${i}`, metadata, system_prompt: "secret prompt" });
    }
    const answer = await gus.ask("GET", "/api/v1/sessions?limit=200");
    expect(Buffer.byteLength(answer.text)).toBeLessThanOrEqual(256 * KIB);
    expect(answer.json.sessions.length).toBeGreaterThan(25);
    expect(answer.text).not.toContain("system_prompt");
    expect(answer.text).not.toContain("secret prompt");
    const paged = await pages(gus, { limit: 200 });
    expect(new Set(ids(paged.flat())).size).toBe(70);
    expect(paged.flat()).toHaveLength(70);
    expect(await gus.call("session.get", { session_id: "big-0" })).toMatchObject({
      system_prompt: "secret prompt",
      metadata,
    });
  });

  test("counts those in bytes, not in characters", async () => {
    const metadata = { text: "☃".repeat(2_700) };
    for (let i = 0; i < 70; i++) await owner.call("session.create", { session_id: `snow-${i}`, metadata });
    const answer = await owner.ask("GET", "/api/v1/sessions?limit=200&query=snow");
    expect(Buffer.byteLength(answer.text)).toBeLessThanOrEqual(256 * KIB);
  });

  test("a cursor is what was answered, nothing else", async () => {
    for (const cursor of ["x", "", "1", ":", "1:", "-1:ses_x", "9".repeat(20) + ":ses_x"]) {
      for (const method of ["session.list", "run.list"]) {
        expect(await refusal(owner.call(method, { cursor })), cursor).toMatchObject({
          code: "INVALID_REQUEST",
          details: { kind: "cursor" },
        });
      }
    }
    for (const limit of [0, 201, 1.5, -1]) {
      expect(await refusal(owner.call("session.list", { limit }))).toMatchObject({
        code: "INVALID_REQUEST",
        details: { path: "limit" },
      });
    }
  });
});

describe("session.update", () => {
  const full = { title: "t", model: "test/fake-2", system_prompt: "be kind", metadata: { a: 1, b: [null] } };
  const cases: [string, Record<string, unknown>, Record<string, unknown>][] = [
    ["nothing given: nothing changes", {}, full],
    ["a title alone", { title: "new" }, { ...full, title: "new" }],
    ["an empty title", { title: "" }, { ...full, title: "" }],
    ["an empty model takes it away", { model: "" }, { ...full, model: undefined }],
    ["an empty system_prompt takes it away", { system_prompt: "" }, { ...full, system_prompt: undefined }],
    ["metadata is replaced, not merged", { metadata: { c: 2 } }, { ...full, metadata: { c: 2 } }],
    ["empty metadata", { metadata: {} }, { ...full, metadata: {} }],
    ["archived", { archived: true }, { ...full, archived: true }],
    [
      "all of it",
      { title: "n", model: "test/x", system_prompt: "p", metadata: {}, archived: true },
      { title: "n", model: "test/x", system_prompt: "p", metadata: {}, archived: true },
    ],
  ];
  for (const [index, [what, change, expected]] of cases.entries()) {
    test(what, async () => {
      const session_id = `update-${index}`;
      const made = await owner.call("session.create", { session_id, ...full });
      await using socket = await owner.connect();
      await socket.request("session.subscribe", { session_id, epoch: made.epoch, after: made.head });
      const answer = await owner.call("session.update", { session_id, ...change });
      const { title, model, system_prompt, metadata, archived } = answer;
      expect({ title, model, system_prompt, metadata, archived }).toEqual({
        archived: false,
        ...expected,
      } as typeof answer);
      expect(answer).toMatchObject({ session_id, head: 2, epoch: made.epoch, created_at: made.created_at });
      expect(await owner.call("session.get", { session_id })).toEqual(answer);
      const event = await socket.nextEvent("session.updated");
      expect(event.json.payload.session).toEqual({
        owner: "owner",
        created_at: made.created_at,
        archived: false,
        ...JSON.parse(JSON.stringify(expected)),
      });
    });
  }

  test("changes made at once are made one on top of the other", async () => {
    await owner.call("session.create", { session_id: "race" });
    const changes = [
      { title: "t" },
      { model: "test/x" },
      { system_prompt: "p" },
      { metadata: { m: 1 } },
      { archived: true },
    ];
    await Promise.all(
      changes.map((change) => owner.call("session.update", { session_id: "race", ...change })),
    );
    expect(await owner.call("session.get", { session_id: "race" })).toMatchObject({
      ...Object.assign({}, ...changes),
      head: 6,
    });
  });

  test("its settings are what a run is made with", async () => {
    const { model } = stack;
    await owner.call("session.create", {
      session_id: "set",
      model: "test/fake-9",
      system_prompt: "answer in rhymes",
    });
    const { run } = await say(owner, { session_id: "set", message: "hi" });
    expect(run.model).toBe("test/fake-9");
    expect(model.requests.at(-1)?.body).toMatchObject({
      model: "fake-9",
      messages: [
        { role: "system", content: "answer in rhymes" },
        { role: "user", content: "hi" },
      ],
    });
    await owner.call("session.update", { session_id: "set", model: "", system_prompt: "" });
    const { run: next } = await say(owner, { session_id: "set", message: "again" });
    expect(next.model).toBe("test/fake-1");
    expect(model.requests.at(-1)?.body.messages.map(({ role }: { role: string }) => role)).toEqual([
      "user",
      "assistant",
      "user",
    ]);
    const { run: chosen } = await say(owner, { session_id: "set", message: "once", model: "test/only-now" });
    expect(chosen.model).toBe("test/only-now");
  });

  const bounds: [string, unknown, unknown, Record<string, unknown>][] = [
    ["title", "x".repeat(200), "x".repeat(201), { code: "TOO_LARGE", details: { kind: "title_chars" } }],
    [
      "system_prompt",
      "x".repeat(64 * KIB),
      "x".repeat(64 * KIB + 1),
      { code: "TOO_LARGE", details: { kind: "system_prompt_bytes" } },
    ],
    [
      "system_prompt",
      "☃".repeat(21_845),
      "☃".repeat(21_846),
      { code: "TOO_LARGE", details: { kind: "system_prompt_bytes" } },
    ],
    [
      "metadata",
      { a: "x".repeat(8 * KIB - 8) },
      { a: "x".repeat(8 * KIB - 7) },
      { code: "TOO_LARGE", details: { kind: "metadata_bytes" } },
    ],
  ];
  for (const [field, most, more, refused] of bounds) {
    test(`bounds ${field}, when it is made and when it is changed`, async () => {
      const { session_id } = await owner.call("session.create", { [field]: most });
      expect(await owner.call("session.update", { session_id, [field]: most })).toMatchObject({
        [field]: most,
      });
      expect(await refusal(owner.call("session.create", { [field]: more }))).toMatchObject(refused);
      expect(await refusal(owner.call("session.update", { session_id, [field]: more }))).toMatchObject(
        refused,
      );
      expect(await owner.call("session.get", { session_id })).toMatchObject({ [field]: most, head: 2 });
    });
  }
});
