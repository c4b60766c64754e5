import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { openSocket } from "../support/ws-client.ts";
import { openRaw } from "./raw-socket.ts";
import type { Person, Stack } from "./stack.ts";
import { ask, eventually, idle, refusal, startStack } from "./stack.ts";

const KIB = 1024;

let stack: Stack;
let owner: Person;
beforeAll(async () => {
  stack = await startStack();
  ({ owner } = stack);
});
beforeEach(() => idle(stack));
afterAll(() => stack[Symbol.asyncDispose]());

/** A frame of exactly so many bytes. */
function frameOf(bytes: number, id = "big"): string {
  const frame = (pad: string): string => JSON.stringify({ type: "req", id, method: "heartbeat", pad });
  return frame("x".repeat(bytes - frame("").length));
}

/** How often each limit was reached so far. */
async function reached(): Promise<Record<string, number>> {
  return (await owner.call("system.stats")).limits;
}

test("connect says what the limits are", async () => {
  await using socket = await openSocket(stack.gateway.ws_url);
  const { policy } = await socket.request("connect", { auth_token: owner.token });
  expect(policy).toEqual({
    heartbeat_interval: 30,
    connection_timeout: 300,
    max_connections: 1_000,
    max_frame_bytes: 256 * KIB,
    max_in_flight: 16,
    max_waits_in_flight: 32,
    max_message_bytes: 128 * KIB,
    max_subscriptions: 128,
  });
});

describe("sizes", () => {
  test("a frame has 256 KiB; a larger one ends the socket with 1009", async () => {
    const { errors } = await owner.call("system.stats");
    await using socket = await owner.connect();
    socket.send(frameOf(256 * KIB));
    expect((await socket.next(({ json }) => json.id === "big")).json.ok).toBe(true);
    socket.send(frameOf(256 * KIB + 1));
    expect((await socket.closed).code).toBe(1009);
    await eventually(reached, ({ frame_bytes = 0 }) => frame_bytes === 1);
    expect((await owner.call("system.stats")).errors).toMatchObject({
      TOO_LARGE: (errors.TOO_LARGE ?? 0) + 1,
    });
  });

  test("8 KiB in all come before connect, which counts; then TOO_LARGE and 1009", async () => {
    const hello = { auth_token: owner.token };
    const connect = (pad: string): string =>
      JSON.stringify({ type: "req", id: "h", method: "connect", params: hello, pad });
    const rest = 8 * KIB - connect("").length;
    await using fits = await openSocket(stack.gateway.ws_url);
    fits.send(connect("x".repeat(rest)));
    expect((await fits.next(() => true)).json).toMatchObject({ id: "h", ok: true });
    fits.send(frameOf(100 * KIB));
    expect((await fits.next(({ json }) => json.id === "big")).json.ok).toBe(true);
    await using over = await openSocket(stack.gateway.ws_url);
    over.send(connect("x".repeat(rest + 1)));
    expect((await over.next(() => true)).json).toMatchObject({
      ok: false,
      error: { code: "TOO_LARGE", status: 4013 },
    });
    expect((await over.closed).code).toBe(1009);
  });

  test("a body has 1 MiB; 413, whether its length was said or not", async () => {
    const body = (bytes: number): string => {
      const empty = JSON.stringify({ title: "" });
      return JSON.stringify({ title: "x".repeat(bytes - empty.length) });
    };
    const url = `${stack.gateway.url}/api/v1/sessions`;
    const most = await ask(url, "POST", { body: body(1_024 * KIB), headers: owner.bearer });
    // Read whole, and then its title is too long.
    expect([most.status, most.json.error.details]).toMatchObject([413, { what: "title_chars" }]);
    const more = await ask(url, "POST", { body: body(1_024 * KIB + 1), headers: owner.bearer });
    expect([more.status, more.json.error]).toMatchObject([
      413,
      { code: "TOO_LARGE", details: { kind: "body", limit: 1_024 * KIB } },
    ]);
    const chunked = await fetch(url, {
      method: "POST",
      headers: { ...owner.bearer, "content-type": "application/json" },
      body: new Blob([body(1_024 * KIB + 1)]).stream(),
    });
    expect([chunked.status, (await chunked.json()).error.code]).toEqual([413, "TOO_LARGE"]);
    expect((await reached())["body_bytes"]).toBe(2);
  });
});

describe("frames that are no requests", () => {
  const bad: [string, string, string | null, string][] = [
    ["no JSON", "{", null, "json"],
    ["an array", "[]", null, "frame"],
    ["null", "null", null, "frame"],
    ["another type", '{"type":"res","id":"1","method":"heartbeat"}', "1", "type"],
    ["no type", '{"id":"1","method":"heartbeat"}', "1", "type"],
    ["no id", '{"type":"req","method":"heartbeat"}', null, "id"],
    ["an empty id", '{"type":"req","id":"","method":"heartbeat"}', null, "id"],
    ["a number for an id", '{"type":"req","id":1,"method":"heartbeat"}', null, "id"],
    ["a long id", `{"type":"req","id":"${"x".repeat(65)}","method":"heartbeat"}`, null, "id"],
    ["no method", '{"type":"req","id":"1"}', "1", "method"],
    ["an array of params", '{"type":"req","id":"1","method":"heartbeat","params":[]}', "1", "params"],
    ["null for params", '{"type":"req","id":"1","method":"heartbeat","params":null}', "1", "params"],
    [
      "33 levels",
      `{"type":"req","id":"1","method":"heartbeat","x":${"[".repeat(32)}${"]".repeat(32)}}`,
      null,
      "depth",
    ],
  ];
  test("are answered INVALID_REQUEST, and the 30th within a minute ends the socket with 4000", async () => {
    await using socket = await owner.connect();
    for (const [what, raw, id, kind] of bad) {
      socket.send(raw);
      const { json } = await socket.next(() => true);
      expect([what, json]).toMatchObject([
        what,
        { type: "res", id, ok: false, error: { code: "INVALID_REQUEST", status: 4000, details: { kind } } },
      ]);
    }
    expect(await socket.request("heartbeat")).toMatchObject({ ts: expect.any(Number) });
    for (let i = bad.length; i < 29; i++) socket.send("{");
    expect(await socket.request("heartbeat")).toMatchObject({ ts: expect.any(Number) });
    socket.send("{");
    expect((await socket.closed).code).toBe(4000);
    expect(socket.frames.at(-1)?.json).toMatchObject({ ok: false, error: { code: "INVALID_REQUEST" } });
  });

  test("32 levels are read, in a string there are none; requests that are refused are no bad frames", async () => {
    await using socket = await owner.connect();
    socket.send(`{"type":"req","id":"deep","method":"heartbeat","x":${"[".repeat(31)}${"]".repeat(31)}}`);
    expect((await socket.next(({ json }) => json.id === "deep")).json.ok).toBe(true);
    socket.send({ type: "req", id: "text", method: "heartbeat", x: '\\"'.repeat(3) + "[{".repeat(100) });
    expect((await socket.next(({ json }) => json.id === "text")).json.ok).toBe(true);
    for (let i = 0; i < 40; i++) await refusal(socket.request("run.get", { run_id: "" }));
    expect(await socket.request("heartbeat")).toMatchObject({ ts: expect.any(Number) });
  });

  test("a binary frame is no request, JSON or not", async () => {
    await using socket = await owner.connect();
    const raw = new WebSocket(stack.gateway.ws_url);
    const closed = new Promise<number>((resolve) =>
      raw.addEventListener("close", ({ code }) => resolve(code)),
    );
    await new Promise((resolve) => raw.addEventListener("open", resolve));
    raw.send(new TextEncoder().encode('{"type":"req","id":"1","method":"connect","params":{}}'));
    expect(await closed).toBe(4000);
    expect(await socket.request("heartbeat")).toBeObject();
  });

  test("what is not JSON before connect ends the socket at once with 4000", async () => {
    await using socket = await openSocket(stack.gateway.ws_url);
    socket.send("GET / HTTP/1.1");
    expect((await socket.next(() => true)).json).toMatchObject({
      id: null,
      ok: false,
      error: { code: "INVALID_REQUEST" },
    });
    expect((await socket.closed).code).toBe(4000);
  });
});

describe("in flight", () => {
  test("an id that is in flight is a CONFLICT; the first is answered all the same, and then it is free", async () => {
    stack.model.reply().text("x").hang();
    await using socket = await owner.connect();
    const { run_id } = await socket.request("chat.send", { message: "go" });
    socket.send({ type: "req", id: "same", method: "run.wait", params: { run_id } });
    socket.send({ type: "req", id: "same", method: "heartbeat" });
    expect((await socket.next(({ json }) => json.id === "same")).json).toMatchObject({
      ok: false,
      error: { code: "CONFLICT", details: { kind: "id" }, retryable: false },
    });
    await socket.request("chat.abort", { run_id });
    expect((await socket.next(({ json }) => json.id === "same")).json).toMatchObject({
      ok: true,
      payload: { run_id, status: "aborted" },
    });
    socket.send({ type: "req", id: "same", method: "heartbeat" });
    expect((await socket.next(({ json }) => json.id === "same")).json).toMatchObject({ ok: true });
  });

  test(
    "16 requests, and the 17th is RATE_LIMITED without being run",
    async () => {
      // A try before this one may have reached it.
      const before = (await reached())["in_flight"] ?? 0;
      const { session_id } = await owner.call("session.create", {});
      await using socket = await openRaw(stack.gateway.address, owner.token);
      const params = { session_id, role: "user", content: "x" };
      const requests = Array.from({ length: 17 }, (_, i) => ({
        type: "req",
        id: `r${i}`,
        method: "chat.inject",
        params,
      }));
      const free = ["heartbeat", "chat.abort"].map((method) => ({
        type: "req",
        id: method,
        method,
        params: method === "heartbeat" ? {} : { session_id },
      }));
      // In one piece: all of it is read before the first is answered, if the machine has time for it.
      socket.write(...requests, ...free);
      await eventually(
        () => socket.frames.length,
        (count) => count >= 19,
      );
      const answers = socket.frames.filter(({ type }) => type === "res");
      const refused = answers.filter(({ ok }) => ok !== true);
      expect(refused).toMatchObject([
        {
          id: "r16",
          error: {
            code: "RATE_LIMITED",
            status: 4029,
            details: { kind: "in_flight", limit: 16 },
            retryable: true,
            retry_after_ms: expect.any(Number),
          },
        },
      ]);
      expect(answers).toHaveLength(19);
      expect((await owner.call("chat.history", { session_id })).total).toBe(16);
      expect((await reached())["in_flight"]).toBe(before + 1);
      socket.write({ ...requests[16], id: "again" });
      await eventually(
        () => socket.frames.some(({ id, ok }) => id === "again" && ok === true),
        (came) => came,
      );
    },
    { retry: 5 },
  );

  test("32 times run.wait besides, which leave room for all else", async () => {
    stack.model.reply().text("x").hang();
    await using socket = await owner.connect();
    const { run_id, session_id } = await socket.request("chat.send", { message: "go" });
    const waits = Array.from({ length: 32 }, () =>
      socket.request("run.wait", { run_id, timeout_ms: 60_000 }),
    );
    expect(await refusal(socket.request("run.wait", { run_id }))).toMatchObject({
      code: "RATE_LIMITED",
      details: { kind: "in_flight", limit: 32 },
      retry_after_ms: expect.any(Number),
    });
    await eventually(
      () => socket.request("session.get", { session_id }),
      ({ active_run_id }) => active_run_id === run_id,
    );
    expect(await socket.request("chat.abort", { run_id })).toMatchObject({ status: "aborted" });
    expect(new Set((await Promise.all(waits)).map(({ status }) => status))).toEqual(new Set(["aborted"]));
  });
});
