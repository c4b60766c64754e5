import { Database } from "bun:sqlite";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { readMetrics } from "../support/metrics.ts";
import type { Receiver } from "../support/webhook-receiver.ts";
import { isSigned, startReceiver } from "../support/webhook-receiver.ts";
import type { Person, Stack } from "./stack.ts";
import { eventually, refusal, say, startStack } from "./stack.ts";

/** Events that are delivered to others: which, how, and what becomes of those that are not taken. */

// oxlint-disable-next-line typescript/no-explicit-any -- a test looks wherever it likes
type Made = any;
let stack: Stack;
let owner: Person;
let receiver: Receiver;
let made = 0;
beforeAll(async () => {
  stack = await startStack({
    config: {
      webhooks: { allow: ["127.0.0.1"] },
      limits: { webhook_attempts: 2, webhook_dead_letters: 3, webhooks_per_user: 30 },
    },
  });
  ({ owner } = stack);
});
beforeEach(async () => {
  receiver = startReceiver();
  const { webhooks } = await owner.call("webhook.list");
  for (const { webhook_id } of webhooks) await owner.call("webhook.delete", { webhook_id });
});
afterAll(() => stack[Symbol.asyncDispose]());

const fresh = (): string => `webhooked-${++made}`;
const create = (types: string[], more: Record<string, unknown> = {}, by = owner): Promise<Made> =>
  by.call("webhook.create", { url: receiver.url, types, ...more });
const inject = (session_id: string, content: string, by = owner): Promise<Made> =>
  by.call("chat.inject", { session_id, role: "user", content });

describe("an event", () => {
  test("is delivered as it is in the log, signed, once, and others are not", async () => {
    const session_id = fresh();
    const webhook = await create(["run.completed", "message.completed"]);
    expect(webhook.secret).toStartWith("whsec_");
    const { run } = await say(owner, { session_id, message: "hello" });
    const [first, second] = (await receiver.until(2)) as [Made, Made];
    expect([first.body.type, second.body.type]).toEqual(["message.completed", "run.completed"]);
    expect(second.body).toMatchObject({
      webhook_id: webhook.webhook_id,
      timestamp: new Date(second.body.data.ts).toISOString(),
      data: {
        type: "event",
        event: "run.completed",
        session_id,
        run_id: run.run_id,
        payload: { run: { status: "completed" } },
      },
    });
    const events = await owner.events(
      `/api/v1/sessions/${session_id}/events?after=${second.body.data.epoch}.0&until=${run.run_id}`,
    );
    const frames = (await events.rest()).map(({ data }: Made) => data);
    expect(frames).toContain(JSON.stringify(second.body.data));
    for (const each of [first, second]) expect(isSigned(each, webhook.secret)).toBe(true);
    expect(first.id).not.toBe(second.id);
    await owner.call("webhook.test", { webhook_id: webhook.webhook_id });
    await receiver.until(3);
    expect(receiver.got.map(({ body }) => body.type)).toEqual([
      "message.completed",
      "run.completed",
      "webhook.test",
    ]);
  });

  test("of a session one may not read is not, unless an administrator wants everybody's", async () => {
    const ann = await stack.guest({ user: "ann", role: "user" });
    await create(["message.created"], { sessions: "all", name: "everybody" });
    const mine = await create(["message.created"], {}, ann);
    await owner.call("session.create", { session_id: "not-ann's".replace("'", "-") });
    await inject("not-ann-s", "private");
    const [one] = (await receiver.until(1)) as [Made];
    expect(one.body.webhook_id).not.toBe(mine.webhook_id);
    await ann.call("session.create", { session_id: "ann-s" });
    await inject("ann-s", "hers", ann);
    await receiver.until(3);
    const of = receiver.got.filter(({ body }) => body.webhook_id === mine.webhook_id);
    expect(of.map(({ body }) => body.data.payload.message.content)).toEqual(["hers"]);
    // The owner of everything knows it by the gateway's name.
    const others = receiver.got.filter(({ body }) => body.webhook_id !== mine.webhook_id);
    expect(others.map(({ body }) => body.data.session_id.slice(0, 4))).toEqual(["not-", "ses_"]);
    expect(await refusal(create(["run.completed"], { sessions: "all" }, ann))).toMatchObject({
      code: "FORBIDDEN",
    });
    await ann.call("webhook.delete", { webhook_id: mine.webhook_id });
  });

  test("that is not taken is tried again under its id, before what comes after it in its session", async () => {
    const session_id = fresh();
    await create(["message.created"]);
    receiver.answers.push(new Response(null, { status: 503, headers: { "retry-after": "1" } }));
    await owner.call("session.create", { session_id });
    for (const content of ["a", "b", "c"]) await inject(session_id, content);
    await receiver.until(4);
    const contents = receiver.got.map(({ body }) => body.data.payload.message.content);
    expect(contents).toEqual(["a", "a", "b", "c"]);
    expect(new Set(receiver.got.map(({ id }) => id)).size).toBe(3);
  });

  test("is not followed to where a redirect leads, nor delivered into this network", async () => {
    const { webhook_id } = await create(["message.created"]);
    receiver.answers.push(new Response(null, { status: 302, headers: { location: receiver.url } }));
    const answer = await owner.call("webhook.test", { webhook_id });
    expect(answer).toMatchObject({ ok: false, status: 302 });
    expect(receiver.got).toHaveLength(1);
    for (const url of [
      "http://169.254.169.254/latest",
      "http://[::1]:80/",
      "http://10.0.0.1/",
      "http://0x7f000002/",
    ]) {
      const there = await owner.call("webhook.create", { url, types: ["run.completed"] });
      const refused = await owner.call("webhook.test", { webhook_id: there.webhook_id });
      expect([url, refused.ok, refused.reason]).toEqual([
        url,
        false,
        expect.stringContaining("webhooks.allow"),
      ]);
    }
  });
});

describe("what is given up", () => {
  test("webhook_attempts: after so many it is kept, and can be delivered once more", async () => {
    const session_id = fresh();
    const { webhook_id } = await create(["message.created"]);
    receiver.otherwise = 400;
    await owner.call("session.create", { session_id });
    await inject(session_id, "poison");
    const { dead } = await eventually(
      () => owner.call("webhook.deliveries", { webhook_id }),
      (answer) => answer.dead.length === 1,
    );
    expect(dead).toMatchObject([{ type: "message.created", seq: 2, attempts: 2, reason: "answered 400" }]);
    expect((await owner.call("webhook.update", { webhook_id, name: "x" })).failing_since).toBeNumber();
    const elsewhere = await owner.call("webhook.update", { webhook_id, url: `${receiver.url}?elsewhere` });
    expect(elsewhere.failing_since).toBeUndefined();
    const [{ delivery_id }] = dead;
    expect(await owner.call("webhook.redeliver", { webhook_id })).toEqual({
      delivered: [],
      failed: [{ delivery_id, reason: "answered 400" }],
    });
    receiver.otherwise = 204;
    expect(await owner.call("webhook.redeliver", { webhook_id, delivery_ids: [delivery_id] })).toEqual({
      delivered: [delivery_id],
      failed: [],
    });
    expect(receiver.got.map(({ id }) => id)).toEqual([delivery_id, delivery_id, delivery_id, delivery_id]);
    expect((await owner.call("webhook.deliveries", { webhook_id })).dead).toEqual([]);
    await inject(session_id, "what follows");
    await receiver.until(5);
  });

  test("webhook_dead_letters: the newest are kept, and go with their session", async () => {
    const session_id = fresh();
    const { webhook_id } = await create(["app.*"]);
    receiver.otherwise = 404;
    await owner.call("session.create", { session_id });
    for (let i = 0; i < 5; i++) {
      await owner.call("event.send", { session_id, event: "app.n", payload: { i }, durable: true });
    }
    const { dead } = await eventually(
      () => owner.call("webhook.deliveries", { webhook_id }),
      (answer) => answer.dead.at(-1)?.seq === 6,
      30_000,
    );
    expect(dead.map(({ seq }: Made) => seq)).toEqual([4, 5, 6]);
    const told = async (): Promise<number | undefined> =>
      readMetrics((await owner.ask("GET", "/metrics")).text).get("agentbus_webhook_dead_letters");
    await eventually(told, (count) => count === 3);
    // Whoever looks at what there is need not read all of what was said.
    const kept = (collection: string): string[] => {
      using db = new Database(join(stack.gateway.data_dir, "agentbus.db"), { readonly: true });
      const rows = db.query("SELECT data FROM records WHERE collection = ?").values(collection);
      return rows.map(([data]) => String(data));
    };
    expect(kept("webhook_dead").join()).not.toContain("payload");
    expect(kept("webhook_dead_body").map((body) => JSON.parse(body).data.payload.i)).toEqual([2, 3, 4]);
    await owner.call("session.delete", { session_id });
    await eventually(
      () => owner.call("webhook.deliveries", { webhook_id }),
      (answer) => answer.dead.length === 0,
    );
    expect(kept("webhook_dead_body")).toEqual([]);
  }, 40_000);

  test("a receiver that is gone for good has its webhook turned off", async () => {
    const session_id = fresh();
    await create(["message.created"]);
    receiver.otherwise = 410;
    await owner.call("session.create", { session_id });
    await inject(session_id, "anybody?");
    const { webhooks } = await eventually(
      () => owner.call("webhook.list"),
      (answer) => answer.webhooks[0].enabled === false,
    );
    const [{ webhook_id, reason }] = webhooks;
    expect(reason).toBe("the receiver is gone (410)");
    const states = async (): Promise<(number | undefined)[]> => {
      const read = readMetrics((await owner.ask("GET", "/metrics")).text);
      return ["off", "given_up"].map((state) => read.get(`agentbus_webhooks{state="${state}"}`));
    };
    expect(await states()).toEqual([0, 1]);
    // Whoever turns it off themselves has seen it.
    const off = await owner.call("webhook.update", { webhook_id, enabled: false });
    expect([off.reason, await states()]).toEqual([undefined, [1, 0]]);
    await inject(session_id, "while it is off");
    receiver.otherwise = 204;
    await owner.call("webhook.update", { webhook_id, enabled: true });
    await inject(session_id, "back");
    await receiver.until(2);
    expect(receiver.got.map(({ body }) => body.data.payload.message.content)).toEqual(["anybody?", "back"]);
  });
});

describe("a webhook", () => {
  test("that is rotated signs with both secrets, for as long as it was said", async () => {
    const before = await create(["message.created"]);
    const { webhook_id } = before;
    const after = await owner.call("webhook.rotate", { webhook_id });
    await owner.call("webhook.test", { webhook_id });
    const [both] = (await receiver.until(1)) as [Made];
    expect([isSigned(both, before.secret), isSigned(both, after.secret)]).toEqual([true, true]);
    const last = await owner.call("webhook.rotate", { webhook_id, keep_secs: 0 });
    await owner.call("webhook.test", { webhook_id });
    const [, one] = (await receiver.until(2)) as [Made, Made];
    expect([isSigned(one, after.secret), isSigned(one, last.secret)]).toEqual([false, true]);
  });

  test.each([
    [{ types: ["message.delta"] }, "types"],
    [{ types: ["run.complete"] }, "types"],
    [{ url: "ftp://example.com/x" }, "url"],
    [{ url: "https://user:pass@example.com/x" }, "url"],
  ])("that cannot be meant is refused: %p", async (params, path) => {
    expect(await refusal(create(["run.completed"], params))).toMatchObject({
      code: "INVALID_REQUEST",
      details: { path },
    });
  });

  test("webhooks_per_user: one more is refused", async () => {
    const many = await stack.guest({ user: "many", role: "user" });
    for (let i = 0; i < 30; i++) await create(["run.completed"], {}, many);
    expect(await refusal(create(["run.completed"], {}, many))).toMatchObject({
      code: "CONFLICT",
      details: { kind: "full", what: "webhooks_per_user", limit: 30 },
    });
    await owner.call("user.delete", { user: "many", sessions: "delete" });
  });
});

test("nothing is lost or out of order, whenever the process is killed, and what comes twice has one id", async () => {
  const session_id = fresh();
  await create(["message.created"]);
  await owner.call("session.create", { session_id });
  const sent: string[] = [];
  for (let kills = 0; kills < 3; kills++) {
    for (let i = 0; i < 30; i++) {
      const content = `${kills}-${i}`;
      await inject(session_id, content);
      sent.push(content);
    }
    stack.gateway.kill("SIGKILL");
    await stack.gateway.restart();
  }
  const byId = new Map<string, string>();
  await eventually(
    () => {
      for (const { id, body } of receiver.got) byId.set(id, body.data.payload.message.content);
      return byId.size;
    },
    (size) => size === sent.length,
  );
  expect([...byId.values()]).toEqual(sent);
}, 60_000);

test("the end that a start gives to what the last process left is delivered, too", async () => {
  const session_id = fresh();
  // Nothing is owed before.
  await create(["run.interrupted"]);
  stack.model.reply().text("never").hang();
  const asked = stack.model.asked;
  const { run_id } = await owner.call("chat.send", { session_id, message: "wait" });
  await stack.model.waitForRequests(asked + 1);
  stack.gateway.kill("SIGKILL");
  await stack.gateway.restart();
  const [end] = (await receiver.until(1)) as [Made];
  expect(end.body).toMatchObject({ type: "run.interrupted", data: { session_id, run_id } });
}, 40_000);
