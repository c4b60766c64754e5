import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { EventReader } from "../support/sse-client.ts";
import type { TestSocket } from "../support/ws-client.ts";
import type { Person, Stack } from "./stack.ts";
import { log, startStack } from "./stack.ts";

/** Four sockets and a stream, of which every filter picks some. */
let stack: Stack;
let ann: Person;
let sockets: Record<"web" | "phone" | "ann" | "quiet", TestSocket>;
let stream: EventReader;
beforeAll(async () => {
  stack = await startStack();
  const { owner } = stack;
  ann = await stack.guest({ user: "ann", role: "user" });
  sockets = {
    web: await owner.connect({ client_id: "w1", platform: "web", capabilities: ["chat", "toast"] }),
    phone: await owner.connect({ client_id: "p1", platform: "ios", capabilities: ["chat"] }),
    ann: await ann.connect({ client_id: "a1", platform: "web", capabilities: ["toast"] }),
    quiet: await owner.connect(),
  };
  await owner.call("session.create", { session_id: "room" });
  await owner.call("session.share", { session_id: "room", user: "ann", role: "viewer" });
  const { session_id } = (await ann.call("session.list")).sessions[0];
  await sockets.phone.request("session.subscribe", { session_id: "room" });
  await sockets.ann.request("session.subscribe", { session_id });
  stream = await owner.events("/api/v1/sessions/room/events");
  await stream.next(({ event }) => event === "session.synced");
});
afterAll(async () => {
  stream.close();
  await stack[Symbol.asyncDispose]();
});

const NAMES = ["web", "phone", "ann", "quiet"] as const;

/** Which sockets read an event of this name. Each has to be asked something first: what was sent before comes before. */
async function readers(event: string): Promise<string[]> {
  await Promise.all(NAMES.map((name) => sockets[name].request("heartbeat")));
  return NAMES.filter((name) => sockets[name].frames.some(({ json }) => json.event === event));
}

describe("event.broadcast", () => {
  const cases: [string, Record<string, unknown> | undefined, string[], { stream: boolean }][] = [
    ["no filter", undefined, ["web", "phone", "ann", "quiet"], { stream: true }],
    ["an empty filter", {}, ["web", "phone", "ann", "quiet"], { stream: true }],
    ["a capability", { capability: "toast" }, ["web", "ann"], { stream: false }],
    ["a user", { user: "ann" }, ["ann"], { stream: false }],
    ["a client", { client_id: "p1" }, ["phone"], { stream: false }],
    ["a platform", { platform: "web" }, ["web", "ann"], { stream: false }],
    ["a scope", { scope: "admin" }, ["web", "phone", "quiet"], { stream: true }],
    ["an unknown scope", { scope: "no.such" }, [], { stream: false }],
    ["a session", { session_id: "room" }, ["phone", "ann"], { stream: true }],
    ["several: all of them", { platform: "web", user: "owner" }, ["web"], { stream: false }],
    ["nobody", { platform: "web", user: "owner", capability: "x" }, [], { stream: false }],
  ];
  for (const [index, [what, filter, expected, { stream: streamed }]] of cases.entries()) {
    test(`reaches ${what}`, async () => {
      const event = `app.case-${index}`;
      const payload = { n: index, text: "snow ☃" };
      const { delivered } = await stack.owner.call("event.broadcast", {
        event,
        payload,
        ...(filter && { filter }),
      });
      expect([await readers(event), delivered]).toEqual([expected, expected.length + (streamed ? 1 : 0)]);
      for (const name of expected) {
        const frames = sockets[name as "web"].frames.filter(({ json }) => json.event === event);
        // A signal: neither seq nor epoch nor session.
        expect(frames.map(({ json }) => json)).toEqual([
          { type: "event", event, ts: expect.any(Number), payload },
        ]);
      }
    });
  }

  test("reaches event streams, without an id", async () => {
    const payload = { x: 1 };
    await stack.owner.call("event.broadcast", { event: "app.for-ann", payload, filter: { user: "ann" } });
    await stack.owner.call("event.broadcast", { event: "app.last", payload });
    const seen: string[] = [];
    const last = await stream.next(({ event }) => {
      seen.push(event);
      return event === "app.last";
    });
    expect([last.id, JSON.parse(last.data).payload]).toEqual([null, payload]);
    expect(seen).not.toContain("app.for-ann");
  });

  test("takes only names that are the clients' own", async () => {
    const names = [
      "message.delta",
      "app.",
      "app",
      "application.x",
      "app.a b",
      "app.a\n",
      "heartbeat",
      `app.${"x".repeat(101)}`,
    ];
    for (const event of [...names, "session.changed", "run.completed", ""]) {
      for (const [method, more] of [
        ["event.broadcast", {}],
        ["event.send", { session_id: "room", durable: true }],
      ] as const) {
        const refused = stack.owner.call(method, { event, payload: {}, ...more });
        await expect(refused, `${method} ${event}`).rejects.toMatchObject({
          code: "INVALID_REQUEST",
          details: { path: "event" },
        });
      }
    }
    for (const event of ["notification", `app.${"x".repeat(100)}`, "app.a.b_c-1"]) {
      expect(
        await stack.owner.call("event.broadcast", { event, payload: {}, filter: { user: "nobody" } }),
      ).toEqual({ delivered: 0 });
    }
  });

  test("takes 16 KiB of payload", async () => {
    const filter = { user: "nobody" };
    const payload = { text: "x".repeat(16 * 1024 - 11) };
    expect(JSON.stringify(payload)).toHaveLength(16 * 1024);
    const send = (body: unknown): Promise<unknown> =>
      stack.owner.call("event.broadcast", { event: "app.big", payload: body, filter });
    expect(await send(payload)).toEqual({ delivered: 0 });
    await expect(send({ text: `${payload.text}x` })).rejects.toMatchObject({
      code: "TOO_LARGE",
      details: { kind: "broadcast_bytes", limit: 16 * 1024 },
    });
    // Bytes, not characters.
    await expect(send({ text: "☃".repeat(6_000) })).rejects.toMatchObject({ code: "TOO_LARGE" });
  });

  test("with a key is sent once", async () => {
    const params = {
      event: "app.once",
      payload: { a: 1 },
      filter: { platform: "web" },
      idempotency_key: "b-1",
    };
    const answers = [
      await stack.owner.call("event.broadcast", params),
      await stack.owner.call("event.broadcast", params),
    ];
    expect(answers).toEqual([{ delivered: 2 }, { delivered: 2 }]);
    expect(await readers("app.once")).toEqual(["web", "ann"]);
    expect(sockets.web.frames.filter(({ json }) => json.event === "app.once")).toHaveLength(1);
    await expect(stack.owner.call("event.broadcast", { ...params, payload: { a: 2 } })).rejects.toMatchObject(
      {
        code: "IDEMPOTENCY_MISMATCH",
        status: 4022,
      },
    );
  });
});

describe("event.send", () => {
  test("reaches who follows the session, each under the name they use", async () => {
    const payload = { typing: true };
    const answer = await stack.owner.call("event.send", { session_id: "room", event: "app.typing", payload });
    expect(answer).toEqual({ delivered: 3 });
    expect(await readers("app.typing")).toEqual(["phone", "ann"]);
    const ids = (["phone", "ann"] as const).map((name) => {
      const { json } = sockets[name].frames.find((frame) => frame.json.event === "app.typing") ?? {
        json: null,
      };
      expect(json).toEqual({
        type: "event",
        event: "app.typing",
        session_id: json.session_id,
        ts: json.ts,
        payload,
      });
      return json.session_id;
    });
    expect(ids).toEqual(["room", expect.stringMatching(/^ses_/)]);
  });

  test("durable: ordered, with a seq, and there for who comes later", async () => {
    const send = (n: number): Promise<{ seq: number }> =>
      stack.owner.call("event.send", {
        session_id: "room",
        event: "app.step",
        payload: { n },
        durable: true,
      });
    const { head, epoch } = await stack.owner.call("session.get", { session_id: "room" });
    const answers = [await send(1), await send(2), await send(3)];
    expect(answers).toEqual([1, 2, 3].map((n) => ({ seq: head + n })));
    await readers("app.step");
    const live = log(sockets.phone, "room").filter(({ event }) => event === "app.step");
    expect(live.map(({ seq, payload }) => [seq, payload.n])).toEqual([1, 2, 3].map((n) => [head + n, n]));
    await using late = await stack.owner.connect();
    const opened = await late.request("session.subscribe", { session_id: "room", epoch, after: head });
    expect(opened).toEqual({ mode: "resume", epoch, from: head, head: head + 3 });
    await late.nextEvent("session.synced");
    expect(log(late, "room")).toEqual(live);
  });

  test("needs write access to the session besides the scope", async () => {
    const viewer = await stack.guest({ user: "ann", scopes: ["chat.read", "events.broadcast"] });
    const { session_id } = (await viewer.call("session.list")).sessions[0];
    const params = { session_id, event: "app.x", payload: {} };
    await expect(viewer.call("event.send", params)).rejects.toMatchObject({
      code: "FORBIDDEN",
      details: { kind: "share" },
    });
    await stack.owner.call("session.share", { session_id: "room", user: "ann", role: "editor" });
    expect(await viewer.call("event.send", params)).toEqual({ delivered: 3 });
    // Who may send everywhere may not ask who follows what they cannot read.
    const eve = await stack.guest({ user: "eve", role: "operator" });
    const filter = { session_id };
    await expect(eve.call("event.send", params)).rejects.toMatchObject({ code: "NOT_FOUND" });
    await expect(eve.call("event.broadcast", { event: "app.x", payload: {}, filter })).rejects.toMatchObject({
      code: "NOT_FOUND",
    });
  });

  test("with a key answers the same again and sends nothing", async () => {
    for (const durable of [true, false]) {
      const event = `app.keyed-${durable}`;
      const params = { session_id: "room", event, payload: {}, durable, idempotency_key: event };
      const first = await stack.owner.call("event.send", params);
      expect([durable, await stack.owner.call("event.send", params)]).toEqual([durable, first]);
      expect(await readers(event)).toEqual(["phone", "ann"]);
      expect(sockets.phone.frames.filter(({ json }) => json.event === event)).toHaveLength(1);
    }
  });
});
