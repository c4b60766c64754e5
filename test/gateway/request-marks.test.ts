import { afterAll, beforeAll, expect, test } from "bun:test";
import { startReceiver } from "../support/webhook-receiver.ts";
import type { Stack } from "./stack.ts";
import { ask, ended, eventually, startStack } from "./stack.ts";

/** What a request is called, and how long it took: in its answer, in the log, and towards others. */

const TRACE = "0af7651916cd43dd8448eb211c80319c";
const TRACEPARENT = `00-${TRACE}-b7ad6b7169203331-01`;
const PACE_MS = 100;

let stack: Stack;
beforeAll(async () => {
  stack = await startStack({ config: { log: { level: "debug" }, webhooks: { allow: ["127.0.0.1"] } } });
});
afterAll(() => stack[Symbol.asyncDispose]());

function idOf(headers: Headers): string {
  return headers.get("x-request-id") ?? "";
}

async function logged(msg: string, fields: Record<string, unknown>): Promise<Record<string, unknown>> {
  const found = (): Record<string, unknown> | undefined =>
    stack.gateway.log.find(
      (line) => line.msg === msg && Object.entries(fields).every(([name, value]) => line[name] === value),
    );
  return (await eventually(found, (line) => line !== undefined)) ?? {};
}

test("a request has a name: its own where that is one, else a new one; every answer tells it, refusals too", async () => {
  const named = await stack.owner.ask("GET", "/api/v1/sessions", { headers: { "x-request-id": "my/job:7" } });
  expect(idOf(named.headers)).toBe("my/job:7");
  for (const bad of ["", "two words", 'a"b', "x".repeat(129), "ä"]) {
    const { headers } = await stack.owner.ask("GET", "/api/v1/sessions", {
      headers: { "x-request-id": bad },
    });
    expect(idOf(headers)).toMatch(/^req_[a-z0-9]{26}$/);
  }
  const ids = new Set<string>();
  for (const path of ["/health", "/nowhere", "/api/v1/sessions", "/api/v1/sessions/none"]) {
    const { headers } = await ask(`${stack.gateway.url}${path}`, "GET");
    ids.add(idOf(headers));
    expect(headers.get("x-agentbus-overhead-ms")).toMatch(/^\d+\.\d$/);
    expect(headers.get("server-timing")).toMatch(/^gateway;dur=\d+\.\d$/);
  }
  expect(ids.size).toBe(4);
  const line = await logged("a request was answered", { request_id: "my/job:7" });
  expect(line).toMatchObject({ method: "GET", path: "/api/v1/sessions", status: 200 });
});

test("what the gateway took is told apart from what the model did", async () => {
  stack.model.reply().pace(PACE_MS).text("one").text("two").text("three");
  const body = { session_id: "slow", message: "go", wait: true };
  const { status, headers } = await stack.owner.ask("POST", "/api/v1/chat", { body });
  expect(status).toBe(200);
  const [, model = ""] = /(?:^|, )model;dur=([\d.]+)/.exec(headers.get("server-timing") ?? "") ?? [];
  expect(Number(model)).toBeGreaterThanOrEqual(2 * PACE_MS);
  const [, gateway = ""] = /^gateway;dur=([\d.]+)/.exec(headers.get("server-timing") ?? "") ?? [];
  expect(headers.get("x-agentbus-overhead-ms")).toBe(gateway);
  const line = await logged("a request was answered", { request_id: idOf(headers) });
  const parts = [...(headers.get("server-timing") ?? "").matchAll(/dur=([\d.]+)/g)].map(([, ms]) =>
    Number(ms),
  );
  expect(Number(line["total_ms"])).toBeCloseTo(
    parts.reduce((sum, ms) => sum + ms, 0),
    0,
  );
});

test("run.wait is nothing but waiting", async () => {
  stack.model.reply().pace(PACE_MS).text("one").text("two").text("three");
  const { run_id } = await stack.owner.call("chat.send", { session_id: "waits", message: "go" });
  const { headers, json } = await stack.owner.ask("POST", "/api/v1/rpc/run.wait", { body: { run_id } });
  expect(json.status).toBe("completed");
  expect(headers.get("server-timing")).toMatch(/^gateway;dur=[\d.]+, run;dur=[\d.]+$/);
});

test("a run is joined with its request and its trace, in the log and at the model", async () => {
  const headers = { "x-request-id": "job-8", traceparent: TRACEPARENT };
  const body = { session_id: "traced", message: "go" };
  const { json } = await stack.owner.ask("POST", "/api/v1/chat", { body, headers });
  await ended(stack.owner, json.run_id);
  const joined = { request_id: "job-8", trace_id: TRACE };
  expect(await logged("a run was accepted", { run_id: json.run_id })).toMatchObject(joined);
  expect(await logged("a request was answered", { request_id: "job-8" })).toMatchObject(joined);
  expect(stack.model.requests.at(-1)?.headers["traceparent"]).toBe(TRACEPARENT);
});

test("a webhook is told the trace of the run it is posted of, also when that is over; of what has none it is told none", async () => {
  await using receiver = startReceiver();
  const params = { url: receiver.url, types: ["run.completed", "message.created"] };
  const { webhook_id } = await stack.owner.call("webhook.create", params);
  const body = { session_id: "posted", message: "go" };
  await stack.owner.ask("POST", "/api/v1/chat", { body, headers: { traceparent: TRACEPARENT } });
  await receiver.until(2);
  await stack.owner.call("chat.inject", { session_id: "posted", role: "user", content: "more" });
  const got = await receiver.until(3);
  await stack.owner.call("webhook.delete", { webhook_id });
  const told = got.map(({ headers }) => headers.get("traceparent"));
  expect(got.map(({ body: { type } }) => type)).toEqual([
    "message.created",
    "run.completed",
    "message.created",
  ]);
  expect(told).toEqual([TRACEPARENT, TRACEPARENT, null]);
});

test("over a socket each frame may belong to a trace, and its id is its name; what is no trace is heeded by nobody", async () => {
  await using socket = await stack.owner.connect();
  const send = async (id: string, traceparent: string): Promise<unknown> => {
    const params = { session_id: "frames", message: "go" };
    socket.send(JSON.stringify({ type: "req", id, method: "chat.send", params, traceparent }));
    const { json } = await socket.next((frame) => frame.json.type === "res" && frame.json.id === id);
    await ended(stack.owner, json.payload.run_id);
    expect(await logged("a run was accepted", { run_id: json.payload.run_id })).toMatchObject({
      request_id: id,
    });
    return stack.model.requests.at(-1)?.headers["traceparent"];
  };
  expect(await send("f1", TRACEPARENT)).toBe(TRACEPARENT);
  const zero = "0".repeat(32);
  for (const bad of [
    "",
    "00-1-2-01",
    `ff-${TRACE}-b7ad6b7169203331-01`,
    `00-${zero}-b7ad6b7169203331-01`,
    "x".repeat(1_000),
  ]) {
    expect(await send(`f-${bad.length}`, bad)).toBeUndefined();
  }
});
