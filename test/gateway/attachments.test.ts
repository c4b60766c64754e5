import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { gif, png } from "../support/images.ts";
import { download, form, send, upload } from "./files.fixture.ts";
import type { Person, Stack } from "./stack.ts";
import { log, refusal, say, startStack } from "./stack.ts";

let stack: Stack;
let owner: Person;
beforeAll(async () => {
  stack = await startStack();
  ({ owner } = stack);
});
afterAll(() => stack[Symbol.asyncDispose]());

const NOT_THERE = { code: "NOT_FOUND", details: { kind: "attachment" } };

describe("an upload", () => {
  test("is told what it is by its content", async () => {
    const bytes = png(64, 32);
    const answer = await upload(stack, owner, bytes, { name: "page.html", type: "text/html" });
    expect(answer).toEqual({
      attachment_id: expect.stringMatching(/^att_/),
      type: "image",
      name: "page.html",
      media_type: "image/png",
      bytes: bytes.length,
      width: 64,
      height: 32,
      sha256: new Bun.CryptoHasher("sha256").update(bytes).digest("hex"),
      expires_at: expect.any(Number),
    });
    expect(answer.expires_at).toBeGreaterThan(Date.now() + 3_500_000);
    expect(await upload(stack, owner, "# Hello", { name: "notes.md", type: "image/png" })).toMatchObject({
      type: "file",
      name: "notes.md",
      media_type: "text/markdown",
      bytes: 7,
    });
    expect(await upload(stack, owner, "x")).toMatchObject({ name: "attachment", media_type: "text/plain" });
  });

  test("comes as a form, as browsers and curl send it", async () => {
    const bytes = gif(3, 4);
    expect(await upload(stack, owner, form(bytes, 'my "photo".gif'))).toMatchObject({
      name: "my _photo_.gif",
      media_type: "image/gif",
      bytes: bytes.length,
    });
    expect(await upload(stack, owner, form("hé", "naïve.txt"), { name: "other.txt" })).toMatchObject({
      name: "other.txt",
      bytes: 3,
    });
    const large = "a line\r\n--not the boundary\r\n".repeat(40_000);
    expect(await upload(stack, owner, form(large, "large.txt"))).toMatchObject({ bytes: large.length });
  });

  test("is one file in a form", async () => {
    const two = form("a", "a.txt");
    two.append("file", new Blob(["b"]), "b.txt");
    const field = new FormData();
    field.append("file", "no file");
    for (const made of [two, field]) {
      const response = await send(stack, owner, made);
      expect([response.status, (await response.json()).error]).toMatchObject([
        400,
        { code: "INVALID_REQUEST", details: { kind: "form" } },
      ]);
    }
  });

  test("that is neither image nor text is refused, and says what can be sent", async () => {
    for (const content of [new Uint8Array([80, 75, 3, 4, 0, 0]), new Uint8Array(), "%PDF-1.7"]) {
      const response = await send(stack, owner, content);
      expect([response.status, (await response.json()).error]).toMatchObject([
        415,
        { code: "INVALID_REQUEST", details: { kind: "media_type" } },
      ]);
    }
  });

  test("of many pieces comes back as it was", async () => {
    const bytes = png(10, 10, crypto.getRandomValues(new Uint8Array(60_000)).toString().repeat(9));
    expect(bytes.length).toBeGreaterThan(1_500_000);
    const file = await upload(stack, owner, bytes);
    await say(owner, { session_id: "large", message: "look", attachments: [file.attachment_id] });
    const response = await download(stack, owner, "large", file.attachment_id);
    expect(response.headers.get("etag")).toBe(`"${file.sha256}"`);
    expect(Buffer.compare(await response.bytes(), bytes)).toBe(0);
  });
});

describe("a message", () => {
  test("has its files behind its text, in the log, the history and the answer of a reader that comes late", async () => {
    const image = await upload(stack, owner, png(5, 6), { name: "a.png" });
    const file = await upload(stack, owner, "text", { name: "b.txt" });
    await using socket = await owner.connect();
    const attachments = [file.attachment_id, image.attachment_id];
    const { message_id } = await socket.request("chat.send", {
      session_id: "parts",
      message: "two of them",
      attachments,
    });
    const { attachment_id } = image;
    const parts = [
      { type: "text", text: "two of them" },
      {
        type: "file",
        attachment_id: file.attachment_id,
        name: "b.txt",
        media_type: "text/plain",
        bytes: 4,
      },
      {
        type: "image",
        attachment_id,
        name: "a.png",
        media_type: "image/png",
        bytes: image.bytes,
        width: 5,
        height: 6,
      },
    ];
    await socket.nextEvent("run.completed");
    const created = log(socket, "parts").find(({ event }) => event === "message.created");
    expect(created.payload.message).toMatchObject({ message_id, content: "two of them", parts });
    const { messages } = await owner.call("chat.history", { session_id: "parts" });
    expect(messages[0]).toMatchObject({ content: "two of them", parts });
    await using late = await owner.connect();
    const { snapshot } = await late.request("session.subscribe", { session_id: "parts" });
    expect(snapshot.messages[0]).toMatchObject({ parts });
    expect(snapshot.session.title).toBe("two of them");
  });

  test("may be files alone, and then the session is called as the first", async () => {
    const { attachment_id } = await upload(stack, owner, "text", { name: "plan.txt" });
    await say(owner, { session_id: "alone", message: "", attachments: [attachment_id] });
    const { messages } = await owner.call("chat.history", { session_id: "alone" });
    expect(messages[0]).toMatchObject({ content: "", parts: [{ type: "file", attachment_id }] });
    expect((await owner.call("session.get", { session_id: "alone" })).title).toBe("plan.txt");
    for (const [method, params] of [
      ["chat.send", { message: "" }],
      ["chat.send", { message: "", attachments: [] }],
      ["chat.inject", { role: "user", content: "" }],
    ] as const) {
      expect(await refusal(owner.call(method, { session_id: "alone", ...params }))).toMatchObject({
        code: "INVALID_REQUEST",
        details: { kind: "schema" },
      });
    }
  });

  test("can be injected with files, where a user says it", async () => {
    const { attachment_id } = await upload(stack, owner, "text");
    await owner.call("session.create", { session_id: "injected" });
    const inject = (role: string): Promise<unknown> =>
      owner.call("chat.inject", { session_id: "injected", role, content: "x", attachments: [attachment_id] });
    await inject("user");
    expect(await refusal(inject("assistant"))).toMatchObject({ code: "INVALID_REQUEST" });
    expect(await (await download(stack, owner, "injected", attachment_id)).text()).toBe("text");
  });

  test("names files by REST, too", async () => {
    const { attachment_id } = await upload(stack, owner, "text");
    const body = { session_id: "rest", message: "x", attachments: [attachment_id] };
    expect((await owner.ask("POST", "/api/v1/chat", { body })).status).toBe(201);
    const { session_id: _, ...more } = body;
    const path = "/api/v1/sessions/rest/messages";
    expect((await owner.ask("POST", path, { body: more })).status).toBe(202);
    const { json } = await owner.ask("GET", path);
    expect(
      json.messages.filter(({ parts }: { parts: { type: string }[] }) => parts[1]?.type === "file"),
    ).toHaveLength(2);
  });

  test("that names what is not there, or is somebody else's, is not sent", async () => {
    const guest = await stack.guest({ user: "curious", role: "user" });
    const { attachment_id } = await upload(stack, owner, "mine");
    const refused = await Promise.all(
      [attachment_id, "att_00000000000000000000000000", "x"].map((id) =>
        refusal(guest.call("chat.send", { session_id: "theirs", message: "x", attachments: [id] })),
      ),
    );
    expect(refused[0]).toMatchObject(NOT_THERE);
    expect(refused).toEqual([refused[0], refused[0], refused[0]] as typeof refused);
    expect(await refusal(guest.call("session.get", { session_id: "theirs" }))).toMatchObject({
      code: "NOT_FOUND",
    });
  });

  test("is the same only with the same files", async () => {
    const [a, b] = [await upload(stack, owner, "a"), await upload(stack, owner, "b")];
    const params = { session_id: "keyed", message: "x", idempotency_key: "files" };
    const first = await owner.call("chat.send", { ...params, attachments: [a.attachment_id] });
    expect(await owner.call("chat.send", { ...params, attachments: [a.attachment_id] })).toEqual(first);
    expect(
      await refusal(owner.call("chat.send", { ...params, attachments: [b.attachment_id] })),
    ).toMatchObject({ code: "IDEMPOTENCY_MISMATCH" });
    expect(await refusal(owner.call("chat.send", params))).toMatchObject({ code: "IDEMPOTENCY_MISMATCH" });
  });
});
