import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import type { ReceivedFrame } from "../support/ws-client.ts";
import { openSocket } from "../support/ws-client.ts";
import { violations } from "./json-schema.ts";
import type { JsonSchema } from "./json-schema.ts";
import { METHOD_CASES, WORLD_CONFIG } from "./method-cases.ts";
import type { World } from "./world.ts";
import { createWorld } from "./world.ts";
import type { Stack } from "./stack.ts";
import { ask, idle, startStack } from "./stack.ts";

interface Described {
  readonly name: string;
  readonly scope: string | null;
  readonly idempotent: boolean;
  readonly aliases: readonly string[];
  readonly params: JsonSchema & { readonly properties: Record<string, unknown> };
  readonly result: JsonSchema;
}

let stack: Stack;
let world: World;
let methods: Described[];
let events: { type: string; durable: boolean; scope: string | null; payload: JsonSchema }[];
beforeAll(async () => {
  stack = await startStack({ config: WORLD_CONFIG });
  world = await createWorld(stack);
  ({ methods, events } = await stack.owner.call("system.describe"));
});
beforeEach(() => idle(stack));
afterAll(() => stack[Symbol.asyncDispose]());

/** One answer over a socket of its own. */
async function overSocket(name: string, params: Record<string, unknown>): Promise<unknown> {
  if (name === "connect") {
    await using socket = await openSocket(stack.gateway.ws_url);
    return await socket.request("connect", params);
  }
  await using socket = await stack.owner.connect();
  return await socket.request(name, params);
}

describe("what is published", () => {
  test("every method has a case here, and connect names them all", async () => {
    const names = methods.map(({ name }) => name);
    expect(Object.keys(METHOD_CASES).sort()).toEqual(names.toSorted());
    await using socket = await openSocket(stack.gateway.ws_url);
    const { features } = await socket.request("connect", { auth_token: stack.owner.token });
    expect(features.methods.toSorted()).toEqual(names.toSorted());
    expect(features.events.toSorted()).toEqual(events.map(({ type }) => type).sort());
  });

  test("sessions.* stand beside session.*, devices.* beside device.*, and three names of chat", () => {
    const aliases = methods.flatMap((method) => method.aliases.map((alias) => [alias, method.name]));
    const own = methods.filter(({ name }) => /^(?:session|device)\./.test(name)).map(({ name }) => name);
    const expected = [
      ...own.map((name) => [name.replace(".", "s."), name]),
      ...["list", "create", "delete"].map((verb) => [`chat.sessions.${verb}`, `session.${verb}`]),
    ];
    expect(aliases.sort()).toEqual(expected.sort());
  });

  test("a key is honoured by what makes something, and only there", () => {
    const keyed = methods.filter(({ idempotent }) => idempotent).map(({ name }) => name);
    expect(keyed.sort()).toEqual(
      [
        "chat.send",
        "chat.inject",
        "session.create",
        "session.fork",
        "run.create",
        "tool.approve",
        "event.broadcast",
        "event.send",
      ].sort(),
    );
    const taking = methods
      .filter(({ params }) => "idempotency_key" in params.properties)
      .map(({ name }) => name);
    expect(taking.sort()).toEqual(keyed);
  });

  test("every durable event needs chat.read: a withheld seq would be a gap", () => {
    const durable = events.filter((event) => event.durable);
    expect(durable.length).toBeGreaterThan(15);
    expect(new Set(durable.map(({ scope }) => scope))).toEqual(new Set(["chat.read"]));
  });

  test("unknown fields are refused by every method but connect", async () => {
    await using socket = await stack.owner.connect();
    for (const { name } of methods) {
      if (name === "connect") continue;
      await expect(socket.request(name, { no_such_field: 1 }), name).rejects.toMatchObject({
        code: "INVALID_REQUEST",
        details: { path: expect.any(String) },
      });
    }
    const extra = { auth_token: stack.owner.token, no_such_field: 1 };
    await using fresh = await openSocket(stack.gateway.ws_url);
    expect(await fresh.request("connect", extra)).toMatchObject({ auth_info: { user: "owner" } });
  });
});

describe("every method answers what it publishes", () => {
  for (const [name, { params, socket, answer }] of Object.entries(METHOD_CASES)) {
    const check = (payload: unknown): void => {
      const { result } = methods.find((method) => method.name === name) as Described;
      expect(violations(result, payload)).toEqual([]);
      if (answer !== undefined) expect(payload).toMatchObject(answer(world));
    };
    test(`${name} over a socket`, async () => {
      check(await overSocket(name, await params(world)));
    });
    test(`${name} over REST`, async () => {
      const { status, json } = await stack.owner.ask("POST", `/api/v1/rpc/${name}`, {
        body: await params(world),
      });
      if (socket === undefined || name === "heartbeat") {
        expect(status).toBe(200);
        return check(json);
      }
      expect([status, json.error.code, json.error.details]).toEqual([
        400,
        "INVALID_REQUEST",
        { kind: "socket" },
      ]);
      return undefined;
    });
  }

  test("an alias answers like the name", async () => {
    for (const { name, aliases, result } of methods) {
      for (const alias of aliases) {
        const payload = await overSocket(alias, (await METHOD_CASES[name]?.params(world)) ?? {});
        expect([alias, violations(result, payload)]).toEqual([alias, []]);
      }
    }
    const session = { session_id: "world" };
    const read = ["session.get", "sessions.get"].map((name) => stack.owner.call(name, session));
    const [one, other] = await Promise.all(read);
    expect(other).toEqual(one);
    const lists = ["session.list", "sessions.list", "chat.sessions.list"].map((name) =>
      stack.owner.call(name),
    );
    const [list, ...others] = await Promise.all(lists);
    expect(others).toEqual([list, list]);
  });

  test("a key goes with the method, whatever it was called", async () => {
    const params = { title: "once", idempotency_key: "alias-1" };
    const made = await stack.owner.call("session.create", params);
    expect(await stack.owner.call("chat.sessions.create", params)).toEqual(made);
  });
});

test("every event has the payload that is published for it", async () => {
  const { model } = stack;
  model.reply().status(500);
  model.reply().reasoning("hm").text("so far").hang();
  await using socket = await stack.owner.connect({ client_id: "watcher" });
  await using other = await stack.owner.connect();
  const session_id = "events";
  await socket.request("session.create", { session_id });
  await socket.request("session.subscribe", { session_id, after: 0 });
  await other.request("session.subscribe", { session_id });
  await socket.request("chat.send", { session_id, message: "go" });
  await socket.nextEvent("message.delta");
  await socket.request("chat.send", { session_id, message: "next", on_busy: "interrupt" });
  await socket.nextEvent("run.completed");
  model.reply().text("half").cut();
  model.reply().text("another").errorInStream("no more");
  await socket.request("chat.send", { session_id, message: "fail" });
  await socket.nextEvent("run.failed");
  await socket.request("session.update", { session_id, title: "t" });
  await socket.request("event.broadcast", { event: "notification", payload: { text: "x" } });
  await socket.request("session.delete", { session_id });
  await socket.next(({ json }) => json.event === "session.changed" && json.payload.deleted === true);
  const seen = new Map<string, ReceivedFrame[]>();
  for (const frame of socket.frames) {
    if (frame.json.type !== "event") continue;
    seen.set(frame.json.event, [...(seen.get(frame.json.event) ?? []), frame]);
  }
  for (const [type, frames] of seen) {
    const event = events.find((each) => each.type === type);
    const schema = event?.payload ?? { is: "unknown" };
    expect([type, ...frames.flatMap(({ json }) => violations(schema, json.payload))]).toEqual([type]);
    // A seq is what makes an event durable.
    const durable = frames.map(({ json }) => json.seq !== undefined);
    expect(durable).toEqual(frames.map(() => event?.durable === true));
    for (const { json } of frames) expect(json.ts).toBeWithin(Date.now() - 60_000, Date.now() + 1_000);
  }
  const durable = events.filter((event) => event.durable && !/^(tool\.|run\.interrupted)/.test(event.type));
  const missing = durable.filter(({ type }) => !seen.has(type)).map(({ type }) => type);
  expect(missing).toEqual([]);
  const signals = [
    "notification",
    "presence.updated",
    "session.changed",
    "session.synced",
    "session.unsubscribed",
  ];
  for (const type of signals) expect([...seen.keys()]).toContain(type);
});

test("what is not a method is NOT_FOUND, over a socket and over REST", async () => {
  await using socket = await stack.owner.connect();
  for (const name of ["no.such", "", "__proto__", "constructor", "chat.send ", "CHAT.SEND"]) {
    await expect(socket.request(name, {}), name).rejects.toMatchObject({
      code: "NOT_FOUND",
      details: { kind: "method" },
    });
    if (name === "") continue;
    const answer = await ask(`${stack.gateway.url}/api/v1/rpc/${encodeURIComponent(name)}`, "POST", {
      body: {},
      headers: stack.owner.bearer,
    });
    expect([name, answer.status, answer.json.error.details]).toEqual([name, 404, { kind: "method" }]);
  }
});
