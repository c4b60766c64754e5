import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createHmac } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { signStandard } from "../../src/automation/signature.ts";
import type { Made } from "./inbound.fixture.ts";
import { bearer, deliverTo, makeHook } from "./inbound.fixture.ts";
import type { Answer, Person, Stack } from "./stack.ts";
import { ended, refusal, startStack } from "./stack.ts";

/** Messages that others deliver by a hook: who may, what becomes of it, and what everybody else learns. */

let stack: Stack;
let owner: Person;
beforeAll(async () => {
  stack = await startStack({ config: { limits: { hooks_per_user: 30, hook_calls_per_minute: 20 } } });
  ({ owner } = stack);
});
afterAll(() => stack[Symbol.asyncDispose]());

const hook = (params: Record<string, unknown> = {}, by = owner): Promise<Made> => makeHook(by, params);
const deliver = (
  to: { path: string },
  body: unknown,
  headers: Record<string, string> = {},
): Promise<Answer> => deliverTo(stack, to, body, headers);

async function texts(session_id: string, by = owner): Promise<string[]> {
  const { messages } = await by.call("chat.history", { session_id });
  return messages.filter(({ role }: Made) => role === "user").map(({ content }: Made) => content);
}

describe("a delivery", () => {
  test("becomes a message of the owner's, which is answered", async () => {
    const it = await hook({ template: "{{kind}} of {{who.name}}: {{$body}}", session_id: "by-{{who.name}}" });
    expect(it).toMatchObject({
      path: `/api/v1/hooks/${it.name}`,
      verify: "token",
      dedupe: "id",
      enabled: true,
    });
    stack.model.reply().text("seen");
    const body = { kind: "push", who: { name: "ann/b" } };
    const { status, json } = await deliver(it, body, bearer(it));
    expect([status, json.session_id, json.status]).toEqual([202, "by-ann-b", "started"]);
    expect(Object.keys(json).toSorted()).toEqual(["message_id", "run_id", "session_id", "status"]);
    expect(await ended(owner, json.run_id)).toMatchObject({
      status: "completed",
      origin: { transport: "rest", client_id: `hook:${it.name}` },
    });
    const { messages } = await owner.call("chat.history", { session_id: "by-ann-b" });
    expect(messages).toMatchObject([
      {
        message_id: json.message_id,
        content: `push of ann/b: ${JSON.stringify(body)}`,
        metadata: { hook: it.name },
      },
      { content: "seen" },
    ]);
  });

  test("that was here before is answered as it was then", async () => {
    const it = await hook();
    const headers = { ...bearer(it), "x-github-delivery": "one" };
    const [first, second] = [
      await deliver(it, { text: "a" }, headers),
      await deliver(it, { text: "a" }, headers),
    ];
    expect(second.json.message_id).toBe(first.json.message_id);
    const other = await deliver(it, { text: "b" }, headers);
    expect([other.status, other.json.error.code]).toEqual([422, "IDEMPOTENCY_MISMATCH"]);
    await deliver(it, { text: "a" }, bearer(it));
    expect(await texts(it.name)).toEqual(["a", "a"]);
  });

  test("is known by its body, by a header of its own, or not at all, as the hook says", async () => {
    const [by_body, by_header, by_none] = [
      await hook({ dedupe: "body" }),
      await hook({ id_header: "X-Id" }),
      await hook({ dedupe: "none" }),
    ];
    for (const it of [by_body, by_header, by_none]) {
      for (let i = 0; i < 2; i++) await deliver(it, { text: "same" }, { ...bearer(it), "x-id": "same" });
    }
    const said = [by_body, by_header, by_none].map(async ({ name }) => (await texts(name)).length);
    expect(await Promise.all(said)).toEqual([1, 1, 2]);
  });

  test("proves itself by a signature of GitHub's kind", async () => {
    const it = await hook({ verify: "hmac", secret: "given-by-the-sender" });
    expect(it.secret).toBeUndefined();
    const body = JSON.stringify({ text: "signed" });
    const sign = (secret: string): Record<string, string> => ({
      "x-hub-signature-256": `sha256=${createHmac("sha256", secret).update(body).digest("hex")}`,
    });
    expect((await deliver(it, body, sign("another-secret-of-16"))).status).toBe(401);
    expect((await deliver(it, `${body} `, sign("given-by-the-sender"))).status).toBe(401);
    expect((await deliver(it, body, sign("given-by-the-sender"))).status).toBe(202);
    expect(await texts(it.name)).toEqual(["signed"]);
  });

  test("proves itself by a signature of Standard Webhooks, and is too old after a while", async () => {
    const it = await hook({ verify: "standard" });
    const body = JSON.stringify({ text: "standard" });
    const sign = (id: string, at: number): Record<string, string> => ({
      "webhook-id": id,
      "webhook-timestamp": String(at),
      "webhook-signature": signStandard([it.secret], id, at, body),
    });
    const now = Math.floor(Date.now() / 1_000);
    expect((await deliver(it, body, sign("m1", now - 3_600))).status).toBe(401);
    for (let i = 0; i < 2; i++) expect((await deliver(it, body, sign("m1", now))).status).toBe(202);
    expect(await texts(it.name)).toEqual(["standard"]);
  });

  test("is text, where it is no JSON; a header that is a secret is put into no message", async () => {
    const it = await hook({
      template: "{{$header.x-kind}}{{$header.authorization}}{{$header.x-api-key}}{{a}}: {{$body}}",
    });
    const more = { "content-type": "text/plain", "x-kind": "note", "x-api-key": "no" };
    await deliver(it, "free text", { ...bearer(it), ...more });
    expect(await texts(it.name)).toEqual(["note: free text"]);
    // What is JSON is read as that, whatever a careless sender calls it.
    const form = { "content-type": "application/x-www-form-urlencoded" };
    await deliver(it, '{"a":"form"}', { ...bearer(it), ...form });
    expect((await texts(it.name))[1]).toBe('form: {"a":"form"}');
    const broken = await deliver(it, "{", bearer(it));
    expect([broken.status, broken.json.error.details]).toEqual([400, { kind: "json" }]);
    const deep = await deliver(it, "[".repeat(40) + "]".repeat(40), bearer(it));
    expect(deep.status).toBe(400);
    // Each color opens a bracket that nothing closes.
    const log = "\u001B[31mred ".repeat(40);
    expect((await deliver(it, log, { ...bearer(it), "content-type": "text/plain" })).status).toBe(202);
    expect((await texts(it.name))[2]).toBe(`: ${log}`);
  });

  test("too long for a message is refused, empty ones too", async () => {
    const it = await hook({ template: "{{a}}{{a}}{{a}}{{a}}{{a}}{{a}}{{a}}{{a}}{{a}}" });
    expect((await deliver(it, { a: "x".repeat(20_000) }, bearer(it))).status).toBe(413);
    expect((await deliver(it, {}, bearer(it))).status).toBe(422);
  });
});

describe("what nobody is told", () => {
  test("an unknown name, a wrong secret, a hook that is off and one whose owner is shut out look the same", async () => {
    const user = await stack.guest({ user: "off", role: "user" });
    const [off, theirs] = [await hook(), await hook({}, user)];
    await owner.call("hook.update", { hook_id: off.hook_id, enabled: false });
    expect((await deliver(theirs, { text: "a" }, bearer(theirs))).status).toBe(202);
    await owner.call("user.disable", { user: "off", disabled: true });
    const answers = [
      await deliver({ path: "/api/v1/hooks/nobody" }, { text: "a" }, bearer(off)),
      await deliver(await hook(), { text: "a" }, bearer(off)),
      await deliver(await hook(), { text: "a" }, owner.bearer),
      await deliver(await hook(), { text: "a" }),
      await deliver(off, { text: "a" }, bearer(off)),
      await deliver(theirs, { text: "a" }, bearer(theirs)),
    ];
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 401));
    expect(new Set(answers.map(({ text }) => text)).size).toBe(1);
    await owner.call("user.disable", { user: "off", disabled: false });
    expect((await deliver(theirs, { text: "a" }, bearer(theirs))).status).toBe(202);
  });

  test("the secret: no list has it, nor the database", async () => {
    const it = await hook();
    const text = JSON.stringify(await owner.call("hook.list"));
    expect(text).toContain(it.name);
    expect(text).not.toContain(it.secret);
    for (const file of ["agentbus.db", "agentbus.db-wal"]) {
      expect(readFileSync(join(stack.gateway.data_dir, file)).includes(it.secret)).toBe(false);
    }
  });

  test("whose are somebody else's", async () => {
    const [ann, bob] = [
      await stack.guest({ user: "ann", role: "user" }),
      await stack.guest({ user: "bob", role: "user" }),
    ];
    const it = await hook({}, ann);
    expect(await bob.call("hook.list")).toEqual({ hooks: [] });
    expect(await bob.call("hook.delete", { hook_id: it.hook_id })).toEqual({ deleted: false });
    expect(await refusal(bob.call("hook.rotate", { hook_id: it.hook_id }))).toMatchObject({
      code: "NOT_FOUND",
    });
    expect((await owner.call("hook.list")).hooks.map(({ name }: Made) => name)).toContain(it.name);
    const reader = await stack.guest({ user: "ann", scopes: ["chat.read", "sessions.manage"] });
    const mute = await hook({}, reader);
    const refused = await deliver(mute, { text: "a" }, bearer(mute));
    expect([refused.status, refused.json.error.details]).toEqual([
      403,
      { kind: "scope", scope: "chat.write" },
    ]);
  });
});
