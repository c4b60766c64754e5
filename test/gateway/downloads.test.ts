import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createClient } from "../../src/client/client.ts";
import { png } from "../support/images.ts";
import { download, upload } from "./files.fixture.ts";
import type { Person, Stack } from "./stack.ts";
import { eventually, say, startStack } from "./stack.ts";

let stack: Stack;
let owner: Person;
beforeAll(async () => {
  stack = await startStack({ config: { limits: { downloads_per_user: 2 } } });
  ({ owner } = stack);
});
afterAll(() => stack[Symbol.asyncDispose]());

const NOT_THERE = { code: "NOT_FOUND", details: { kind: "attachment" } };

describe("a download", () => {
  test("is shown in place where it is an image, and saved where it is text, and runs nowhere", async () => {
    const page = "<script>alert(document.domain)</script>";
    const image = await upload(stack, owner, png(1, 1), { name: "ü.png" });
    const html = await upload(stack, owner, page, { name: "pa\nge.html" });
    const attachments = [image.attachment_id, html.attachment_id];
    await say(owner, { session_id: "shown", message: "x", attachments });
    const always = {
      "x-content-type-options": "nosniff",
      "content-security-policy": "sandbox; default-src 'none'; frame-ancestors 'none'",
      "cross-origin-resource-policy": "same-origin",
      "cache-control": "private, no-cache",
    };
    const of = async (id: string): Promise<Record<string, string>> =>
      Object.fromEntries((await download(stack, owner, "shown", id)).headers);
    expect(await of(image.attachment_id)).toMatchObject({
      ...always,
      "content-type": "image/png",
      "content-disposition": "inline; filename=\"_.png\"; filename*=UTF-8''%C3%BC.png",
      etag: `"${image.sha256}"`,
    });
    expect(await of(html.attachment_id)).toMatchObject({
      ...always,
      "content-type": "text/plain; charset=utf-8",
      "content-disposition": "attachment; filename=\"page.html\"; filename*=UTF-8''page.html",
      "content-length": String(page.length),
    });
    expect(await (await download(stack, owner, "shown", html.attachment_id)).text()).toBe(page);
  });

  test("is not sent again where it is known, and not at all where only its head is asked for", async () => {
    const { attachment_id, sha256 } = await upload(stack, owner, "again");
    await say(owner, { session_id: "known", message: "x", attachments: [attachment_id] });
    const headers = { "if-none-match": `"other", "${sha256}"` };
    const same = await download(stack, owner, "known", attachment_id, { headers });
    expect([same.status, await same.text()]).toEqual([304, ""]);
    const head = await download(stack, owner, "known", attachment_id, { verb: "HEAD" });
    expect([head.status, head.headers.get("etag"), await head.text()]).toEqual([200, `"${sha256}"`, ""]);
  });

  test("is for whoever may read the session, as long as they may", async () => {
    const [friend, stranger] = await Promise.all(
      ["friend", "stranger"].map((user) => stack.guest({ user, role: "user" })),
    );
    if (friend === undefined || stranger === undefined) throw new Error("nobody came");
    const { attachment_id } = await upload(stack, owner, "shared");
    await say(owner, { session_id: "shared", message: "x", attachments: [attachment_id] });
    const { messages } = await owner.call("chat.history", { session_id: "shared" });
    const share = { session_id: "shared", user: "friend", role: "viewer" };
    await owner.call("session.share", share);
    const { sessions } = await friend.call("session.list");
    const id = sessions[0].session_id;
    expect(messages[0].parts[1].attachment_id).toBe(attachment_id);
    expect(await (await download(stack, friend, id, attachment_id)).text()).toBe("shared");
    expect((await download(stack, stranger, id, attachment_id)).status).toBe(404);
    expect((await download(stack, friend, id, "att_nothing")).status).toBe(404);
    await owner.call("session.unshare", { session_id: "shared", user: "friend" });
    expect((await download(stack, friend, id, attachment_id)).status).toBe(404);
  });

  test("is of a session: an upload, or what another session names, is not there", async () => {
    const { attachment_id } = await upload(stack, owner, "elsewhere");
    await say(owner, { session_id: "here", message: "x", attachments: [attachment_id] });
    await owner.call("session.create", { session_id: "there" });
    const response = await download(stack, owner, "there", attachment_id);
    expect([response.status, (await response.json()).error]).toMatchObject([404, NOT_THERE]);
  });
});

test("who is gone before a download begins, or asks for none of it, leaves no place taken", async () => {
  const { attachment_id } = await upload(stack, owner, "x".repeat(1_000_000));
  await say(owner, { session_id: "left", message: "x", attachments: [attachment_id] });
  const path = `/api/v1/sessions/left/attachments/${attachment_id}`;
  const port = Number(new URL(stack.gateway.url).port);
  for (let i = 0; i < 20; i++) {
    const request = `GET ${path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: ${owner.bearer.authorization}\r\n\r\n`;
    const socket = await Bun.connect({
      hostname: "127.0.0.1",
      port,
      socket: { open: (each) => void each.write(request), data: () => undefined },
    });
    // At another moment each time.
    await Bun.sleep(i % 5);
    socket.terminate();
    await download(stack, owner, "left", attachment_id, { verb: "HEAD" });
  }
  for (let i = 0; i < 3; i++)
    await eventually(
      async () => (await (await download(stack, owner, "left", attachment_id)).text()).length,
      (length) => length === 1_000_000,
    );
});

test("a client waits for a place, as with many pictures of one conversation", async () => {
  const { attachment_id } = await upload(stack, owner, "x".repeat(1_000_000));
  await say(owner, { session_id: "many", message: "x", attachments: [attachment_id] });
  const client = createClient({ url: stack.gateway.url, auth_token: owner.token });
  await client.connect();
  try {
    const blobs = await Promise.all(Array.from({ length: 4 }, () => client.download("many", attachment_id)));
    expect(blobs.map(({ size }) => size)).toEqual(Array.from({ length: 4 }, () => 1_000_000));
  } finally {
    client.disconnect();
  }
});

describe("files go where their session goes", () => {
  test("a fork has them, also when the first is deleted", async () => {
    const { attachment_id } = await upload(stack, owner, "forked");
    await say(owner, { session_id: "source", message: "x", attachments: [attachment_id] });
    const fork = await owner.call("session.fork", { session_id: "source" });
    await owner.call("session.delete", { session_id: "source" });
    expect((await download(stack, owner, "source", attachment_id)).status).toBe(410);
    expect(await (await download(stack, owner, fork.session_id, attachment_id)).text()).toBe("forked");
  });

  test("an editor's are the session's, and stay when the editor is deleted", async () => {
    const editor = await stack.guest({ user: "editor", role: "user" });
    await owner.call("session.create", { session_id: "edited" });
    await owner.call("session.share", { session_id: "edited", user: "editor", role: "editor" });
    const { sessions } = await editor.call("session.list");
    const { attachment_id } = await upload(stack, editor, "of the editor");
    const { session_id } = sessions[0];
    await say(editor, { session_id, message: "x", attachments: [attachment_id] });
    await owner.call("user.delete", { user: "editor", sessions: "delete" });
    expect(await (await download(stack, owner, "edited", attachment_id)).text()).toBe("of the editor");
  });
});
