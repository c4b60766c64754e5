import { expect, setDefaultTimeout, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Stack } from "../gateway/stack.ts";
import { ended, eventually, startStack } from "../gateway/stack.ts";
import type { CollectedSpan } from "../support/collector.ts";
import { Collector } from "../support/collector.ts";
import type { ConfigTable } from "../support/gateway-process.ts";
import { startReceiver } from "../support/webhook-receiver.ts";
import { readMetrics } from "../support/metrics.ts";

setDefaultTimeout(60_000);

const TRACE = "0af7651916cd43dd8448eb211c80319c";
const CLIENT = "b7ad6b7169203331";
const SECRET_WORDS = "the harbour is closed";

function start(collector: Collector, more: ConfigTable = {}, sections: ConfigTable = {}): Promise<Stack> {
  return startStack({
    config: {
      tools: { builtin: ["time"], policy: { "*": "deny", time: "allow" } },
      telemetry: { otlp_endpoint: `${collector.url}/`, metrics_interval_secs: 1, ...more },
      ...sections,
    },
    provider: { prices: { "fake-1": { input: 1, output: 2 } } },
  });
}

/** A message whose answer calls two tools, one of which may not be called. */
async function talk({ owner, model }: Stack, sampled = true): Promise<void> {
  model
    .reply()
    .text("Let me see.")
    .tool("time", {}, { id: "call_a" })
    .tool("nothing", { words: SECRET_WORDS }, { id: "call_b" })
    .usage({ prompt_tokens: 100, completion_tokens: 10 });
  model.reply().text(SECRET_WORDS).usage({ prompt_tokens: 200, completion_tokens: 20 });
  const headers = { traceparent: `00-${TRACE}-${CLIENT}-${sampled ? "01" : "00"}`, "x-request-id": "job-1" };
  const body = { session_id: "traced", message: SECRET_WORDS };
  const { json } = await owner.ask("POST", "/api/v1/chat", { body, headers });
  expect(await ended(owner, json.run_id)).toMatchObject({ status: "completed" });
}

const about = ({ name, kind, error }: CollectedSpan) => ({ name, kind, error });

test("a request, its run, the turns, models and tools of it are one trace, which the client began and the model goes on with", async () => {
  await using collector = new Collector();
  const home = mkdtempSync(join(tmpdir(), "agentbus-otlp-"));
  writeFileSync(join(home, "headers"), "authorization=Bearer%20abc,x-scope=ops\n");
  const stack = await start(collector, { otlp_headers_file: join(home, "headers") });
  await talk(stack);
  const asked = stack.model.requests.map(({ headers }) => headers["traceparent"]);
  await eventually(
    () => collector.metrics.get("gen_ai.client.token.usage"),
    (points) => points?.length === 2,
  );
  // What was not sent is sent at the end.
  await stack[Symbol.asyncDispose]();
  rmSync(home, { recursive: true });
  expect(collector.complaints).toEqual([]);
  const spans = collector.spans.filter(({ trace_id }) => trace_id === TRACE);
  const below = (parent: string): CollectedSpan[] =>
    spans.filter((span) => span.parent === parent).toSorted((a, b) => a.start_ms - b.start_ms);
  const [request, ...others] = below(CLIENT);
  expect(others).toEqual([]);
  expect(request).toMatchObject({ name: "chat.send", kind: 2, error: null });
  expect(request?.attributes).toMatchObject({ "rpc.method": "chat.send", "agentbus.request_id": "job-1" });
  const [run] = below(request?.span_id ?? "");
  expect(run).toMatchObject({ name: "invoke_agent agentbus", kind: 1, error: null });
  expect(run?.attributes).toMatchObject({
    "gen_ai.operation.name": "invoke_agent",
    "gen_ai.conversation.id": expect.stringMatching(/^ses_/),
    "gen_ai.usage.input_tokens": 300,
    "gen_ai.usage.output_tokens": 30,
    "agentbus.turns": 2,
    "agentbus.outcome": "completed",
  });
  const turns = below(run?.span_id ?? "");
  expect(turns.map(about)).toEqual([
    { name: "turn", kind: 1, error: null },
    { name: "turn", kind: 1, error: null },
  ]);
  const [first, second] = turns.map(({ span_id }) => below(span_id));
  expect(first?.map(about).toSorted((a, b) => (a.name < b.name ? -1 : 1))).toEqual([
    { name: "chat fake-1", kind: 3, error: null },
    { name: "execute_tool nothing", kind: 1, error: "not_called" },
    { name: "execute_tool time", kind: 1, error: null },
  ]);
  expect(second?.map(about)).toEqual([{ name: "chat fake-1", kind: 3, error: null }]);
  expect(second?.[0]?.attributes).toMatchObject({
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "test",
    "gen_ai.request.model": "fake-1",
    "gen_ai.usage.input_tokens": 200,
    "gen_ai.usage.output_tokens": 20,
    "agentbus.cost": 0.000_24,
    "agentbus.first_token_seconds": expect.any(Number),
  });
  const chats = collector.named("chat fake-1").toSorted((a, b) => a.start_ms - b.start_ms);
  expect(asked).toEqual(chats.map(({ span_id }) => `00-${TRACE}-${span_id}-01`));
  expect(spans).toHaveLength(8);
  expect(collector.named("execute_tool time")[0]?.attributes).toMatchObject({
    "gen_ai.tool.name": "time",
    "gen_ai.tool.call.id": expect.any(String),
  });
  // Nothing of what was said is in it.
  expect(JSON.stringify(collector.spans)).not.toContain(SECRET_WORDS);
  const [headers] = collector.headers;
  expect(headers?.get("authorization")).toBe("Bearer abc");
  expect(headers?.get("x-scope")).toBe("ops");
  expect(collector.resources[0]).toMatchObject({ "service.name": "agentbus" });
  const usage = collector.metrics.get("gen_ai.client.token.usage");
  expect(usage?.map(({ attributes, sum }) => [attributes["gen_ai.token.type"], sum])).toEqual([
    ["input", 300],
    ["output", 30],
  ]);
  expect(collector.metrics.get("gen_ai.client.operation.duration")?.[0]?.count).toBe(2);
  expect(collector.metrics.get("agentbus_runs_started")).toEqual([{ attributes: {}, value: 1 }]);
});

test("what a webhook is posted of a run belongs to its trace, each try as a span of its own, and tells so", async () => {
  await using collector = new Collector();
  await using receiver = startReceiver();
  receiver.answers.push(new Response(null, { status: 503 }));
  const stack = await start(collector, {}, { webhooks: { allow: ["127.0.0.1"] } });
  const params = { url: receiver.url, types: ["run.completed", "app.*"] };
  const { webhook_id } = await stack.owner.call("webhook.create", params);
  await talk(stack);
  await receiver.until(2);
  await stack.owner.call("event.send", { session_id: "traced", event: "app.n", payload: {}, durable: true });
  const got = await receiver.until(3);
  await stack[Symbol.asyncDispose]();
  expect(collector.complaints).toEqual([]);
  const [run] = collector.named("invoke_agent agentbus");
  const [failed, taken, other] = collector
    .named("webhook.deliver")
    .toSorted((a, b) => a.start_ms - b.start_ms);
  expect(failed).toMatchObject({ trace_id: TRACE, parent: run?.span_id, kind: 3, error: "503" });
  expect(taken).toMatchObject({ trace_id: TRACE, parent: run?.span_id, kind: 3, error: null });
  expect(taken?.attributes).toEqual({
    "http.request.method": "POST",
    "http.response.status_code": expect.anything(),
    "agentbus.webhook_id": webhook_id,
    "agentbus.event": "run.completed",
  });
  // What no run wrote begins a trace.
  expect(other?.parent).toBe("");
  expect(other?.trace_id).not.toBe(TRACE);
  const spans = [failed, taken, other].map((span) => `00-${span?.trace_id}-${span?.span_id}-01`);
  expect(got.map(({ headers }) => headers.get("traceparent"))).toEqual(spans);
});

test("with log.content what was said is in spans, too", async () => {
  await using collector = new Collector();
  const stack = await start(collector, {}, { log: { content: true } });
  await talk(stack);
  await stack[Symbol.asyncDispose]();
  expect(collector.complaints).toEqual([]);
  const said = (span: CollectedSpan | undefined, name: string): unknown =>
    JSON.parse(String(span?.attributes[name]));
  const [run] = collector.named("invoke_agent agentbus");
  const part = { type: "text", content: SECRET_WORDS };
  expect(said(run, "gen_ai.input.messages")).toEqual([{ role: "user", parts: [part] }]);
  expect(said(collector.named("chat fake-1").at(-1), "gen_ai.output.messages")).toEqual([
    { role: "assistant", parts: [part] },
  ]);
  const [refused] = collector.named("execute_tool nothing");
  expect(refused?.attributes["gen_ai.tool.call.arguments"]).toContain(SECRET_WORDS);
});

test("a model that is asked again, a run that fails and one that is stopped are told as that", async () => {
  await using collector = new Collector();
  const stack = await start(collector);
  const { owner, model } = stack;
  model.reply().status(503);
  model.reply().text("at last");
  const { run_id } = await owner.call("chat.send", { session_id: "again", message: "go" });
  expect(await ended(owner, run_id)).toMatchObject({ status: "completed" });
  model.reply().status(400);
  const failing = await owner.call("chat.send", { session_id: "fails", message: "go" });
  await ended(owner, failing.run_id);
  model.reply().text("half").hang();
  const stopped = await owner.call("chat.send", { session_id: "stops", message: "go" });
  await model.waitForRequests(4);
  await owner.call("chat.abort", { session_id: "stops" });
  await ended(owner, stopped.run_id);
  await stack[Symbol.asyncDispose]();
  expect(collector.complaints).toEqual([]);
  const ofRun = (id: string): (string | null)[][] => {
    const run = collector.spans.find(({ attributes }) => attributes["agentbus.run_id"] === id);
    const turn = collector.spans.find(({ parent }) => parent === run?.span_id);
    const chats = collector.spans.filter(({ parent }) => parent === turn?.span_id);
    return [[run?.error ?? null], chats.map(({ error }) => error)];
  };
  expect(ofRun(run_id)).toEqual([[null], [expect.any(String), null]]);
  expect(ofRun(failing.run_id)).toEqual([["UPSTREAM_ERROR"], ["UPSTREAM_ERROR"]]);
  const [[end], [chat]] = ofRun(stopped.run_id) as [string[], string[]];
  expect([end, chat]).toEqual(["aborted", expect.stringMatching(/^(partial|aborted)$/)]);
});

test("what one request over HTTP leads to is one trace, also where nobody began it; the log tells which", async () => {
  await using collector = new Collector();
  const stack = await start(collector, {}, { log: { level: "debug" } });
  const body = { session_id: "whole", message: "go", wait: true };
  const { status, headers } = await stack.owner.ask("POST", "/api/v1/chat", { body });
  expect(status).toBe(200);
  const request_id = headers.get("x-request-id");
  await stack[Symbol.asyncDispose]();
  const spans = collector.spans.filter(({ attributes }) => attributes["agentbus.request_id"] === request_id);
  expect(new Set(spans.map(({ name }) => name))).toEqual(new Set(["chat.send", "run.wait", "chat.history"]));
  const traces = new Set(collector.spans.map(({ trace_id }) => trace_id));
  const [trace_id] = traces;
  expect(traces.size).toBe(1);
  expect(
    stack.gateway.log.find((line) => line["request_id"] === request_id && "status" in line),
  ).toMatchObject({
    msg: "a request was answered",
    trace_id,
  });
});

test("sample_percent = 0 sends only what others want to see", async () => {
  await using collector = new Collector();
  const stack = await start(collector, { sample_percent: 0 });
  const body = { session_id: "unseen", message: "go" };
  const { json } = await stack.owner.ask("POST", "/api/v1/chat", { body });
  await ended(stack.owner, json.run_id);
  // What it goes on with says so.
  expect(stack.model.requests[0]?.headers["traceparent"]).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/);
  await talk(stack);
  await stack[Symbol.asyncDispose]();
  expect(new Set(collector.spans.map(({ trace_id }) => trace_id))).toEqual(new Set([TRACE]));
});

test.each([
  ["refuses", 503 as const],
  ["says nothing", "hang" as const],
  ["is not there", null],
])(
  "a collector that %s costs nobody anything: what it misses is counted, and a stop does not wait for it",
  async (_what, answer) => {
    await using collector = new Collector();
    if (answer !== null) collector.answer = answer;
    const stack = await start(collector);
    if (answer === null) await collector[Symbol.asyncDispose]();
    await using socket = await stack.owner.connect();
    for (let i = 0; i < 300; i++)
      await Promise.all(Array.from({ length: 10 }, () => socket.request("system.info")));
    const lost = async (): Promise<number> => {
      const { text } = await stack.owner.ask("GET", "/metrics");
      return readMetrics(text).get('agentbus_telemetry_spans_total{outcome="lost"}') ?? 0;
    };
    // 3,000 were made, 2,048 may wait, and of one batch the outcome may be open.
    await eventually(lost, (count) => count >= 3_000 - 2_048 - 512);
    await talk(stack);
    if (answer !== "hang") {
      const told = stack.gateway.log.filter(({ msg }) => msg.startsWith("the collector takes no telemetry"));
      expect(told.length).toBeGreaterThan(0);
    }
    const began = performance.now();
    stack.gateway.kill();
    expect(await stack.gateway.exited).toBe(0);
    expect(performance.now() - began).toBeLessThan(10_000);
    await stack[Symbol.asyncDispose]();
  },
);

test.each([
  [{ otlp_endpoint: "collector:4318" }, "telemetry.otlp_endpoint"],
  [{ otlp_endpoint: "http://127.0.0.1:4318?key=x" }, "telemetry.otlp_endpoint"],
  [{ otlp_endpoint: "http://:secret@127.0.0.1:4318" }, "telemetry.otlp_endpoint"],
  [{ otlp_endpoint: "http://127.0.0.1:4318", otlp_headers: "Bearer x" }, "telemetry.otlp_headers"],
])("what cannot be used is told at the start: %p", async (telemetry, option) => {
  await expect(startStack({ config: { telemetry } })).rejects.toThrow(option);
});
