import { afterAll, beforeAll, expect, test } from "bun:test";
import { readMetrics } from "../support/metrics.ts";
import { needs } from "../support/needs.ts";
import type { Stack } from "./stack.ts";
import { ask, ended, eventually, startStack } from "./stack.ts";

let stack: Stack;
beforeAll(async () => {
  stack = await startStack({
    config: { tools: { builtin: ["time"], policy: { "*": "deny", time: "allow" } } },
    provider: { prices: { "fake-1": { input: 1, output: 2 } } },
  });
});
afterAll(() => stack[Symbol.asyncDispose]());

async function metrics(): Promise<(series: string) => number | undefined> {
  const { status, text } = await stack.owner.ask("GET", "/metrics");
  expect(status).toBe(200);
  const read = readMetrics(text);
  return (series) => read.get(series);
}

test("what happens is counted where it belongs", async () => {
  stack.model.reply().tool("time", {}).usage({ prompt_tokens: 10, completion_tokens: 2 });
  stack.model.reply().text("It is late.").usage({ prompt_tokens: 20, completion_tokens: 4 });
  await using socket = await stack.owner.connect();
  const before = await metrics();
  const sent = await socket.request("chat.send", { session_id: "counted", message: "What time is it?" });
  expect(await ended(stack.owner, sent.run_id)).toMatchObject({ status: "completed" });
  await expect(socket.request("session.get", { session_id: "nowhere" })).rejects.toThrow();
  const after = await eventually(
    metrics,
    (now) => now('agentbus_runs_ended_total{outcome="completed"}') === 1,
  );
  const grown = (series: string): number => (after(series) ?? Number.NaN) - (before(series) ?? 0);
  expect({
    ws: after('agentbus_connections{transport="ws",state="connected"}'),
    opened: grown('agentbus_connections_opened_total{transport="ws"}'),
    asked: grown('agentbus_requests_total{transport="ws"}'),
    errors: grown('agentbus_errors_total{code="NOT_FOUND"}'),
    said: [grown('agentbus_messages_total{role="user"}'), grown('agentbus_messages_total{role="assistant"}')],
    tools: [grown('agentbus_messages_total{role="tool"}'), grown('agentbus_tool_calls_total{outcome="ok"}')],
    runs: [grown("agentbus_runs_started_total"), grown("agentbus_run_duration_seconds_count")],
    turns: grown("agentbus_first_token_seconds_count"),
    calls: grown('agentbus_model_calls_total{provider="test",model="fake-1"}'),
    input: grown('agentbus_model_tokens_total{provider="test",model="fake-1",kind="input"}'),
    cost: grown('agentbus_model_cost_total{provider="test",model="fake-1",currency="USD"}'),
    delta: grown('agentbus_events_total{type="message.delta"}'),
  }).toEqual({
    ws: 1,
    opened: 0,
    asked: 2,
    errors: 1,
    said: [1, 2],
    tools: [1, 1],
    runs: [1, 1],
    turns: 2,
    calls: 2,
    input: 30,
    cost: 0.000_042,
    delta: 1,
  });
  // Every event was appended, and handed to whoever follows.
  const { events_total } = await stack.owner.call("system.stats");
  expect(after("agentbus_event_lag_seconds_count")).toBeGreaterThanOrEqual(events_total);
  expect(after('agentbus_store_commit_seconds_count{sync="full"}')).toBeGreaterThan(0);
  expect(after('agentbus_store_commit_seconds_count{sync="normal"}')).toBeGreaterThan(0);
  // Of a database somewhere else there is no file.
  const has_file = after('agentbus_store_bytes{file="database"}') !== undefined;
  expect(has_file).toBe((await stack.owner.call("system.status")).storage.kind === "sqlite");
  expect(after("process_resident_memory_bytes")).toBeGreaterThan(10_000_000);
});

test("what happens without anybody connected is counted, too", async () => {
  const { owner } = stack;
  const url = "https://example.invalid/";
  const { webhook_id } = await owner.call("webhook.create", { url, types: ["run.completed"] });
  await owner.call("webhook.create", { url, types: ["run.completed"] });
  await owner.call("webhook.update", { webhook_id, enabled: false });
  const before = await metrics();
  await ask(`${stack.gateway.url}/api/v1/hooks/nobodys`, "POST", { body: {} });
  const after = await metrics();
  expect(after('agentbus_webhooks{state="on"}')).toBe(1);
  expect(after('agentbus_webhooks{state="off"}')).toBe(1);
  const refused = 'agentbus_hook_calls_total{outcome="refused"}';
  expect((after(refused) ?? 0) - (before(refused) ?? 0)).toBe(1);
});

test("in the format that Accept asks for, both as promtool wants them", async () => {
  const { headers, text } = await stack.owner.ask("GET", "/metrics");
  expect(headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8");
  const accept =
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75";
  const open = await stack.owner.ask("GET", "/metrics", { headers: { accept } });
  expect(open.headers.get("content-type")).toBe("application/openmetrics-text; version=1.0.0; charset=utf-8");
  expect(open.text.endsWith("\n# EOF\n")).toBe(true);
  expect(text).not.toContain("# EOF");
  if (!needs("promtool", "prometheus")) return;
  const check = Bun.spawnSync(["promtool", "check", "metrics"], { stdin: Buffer.from(text), stderr: "pipe" });
  expect(check.stderr.toString()).toBe("");
  expect(check.exitCode).toBe(0);
});

test("to whoever has the scope system.read and nobody else; with a name of any length nothing grows", async () => {
  const operator = await stack.guest({ user: "prometheus", scopes: ["system.read"] });
  expect((await operator.ask("GET", "/metrics")).status).toBe(200);
  const other = await stack.guest({ user: "ada", role: "user" });
  const { status, json } = await other.ask("GET", "/metrics");
  expect([status, json.error.details]).toEqual([403, { kind: "scope", scope: "system.read" }]);
  // Also from this machine: what comes from a proxy on it comes from there, too.
  expect((await ask(`${stack.gateway.url}/metrics`, "GET")).status).toBe(401);
  const series = async (): Promise<number> => readMetrics((await operator.ask("GET", "/metrics")).text).size;
  const before = await series();
  for (let i = 0; i < 20; i++) {
    const event = { session_id: "counted", event: `app.number.${i}`, payload: {} };
    await stack.owner.call("event.send", event);
    await other.ask("GET", `/api/v1/sessions/unknown-${i}`);
    await stack.owner.ask("POST", `/api/v1/rpc/no.such.${i}`, { body: {} });
  }
  expect(await series()).toBe(before);
});

test("metrics.enabled = false: there are none", async () => {
  await using silent = await startStack({ config: { metrics: { enabled: false } } });
  const { status, json } = await silent.owner.ask("GET", "/metrics");
  expect([status, json.error.code]).toEqual([404, "NOT_FOUND"]);
  expect((await ask(`${silent.gateway.url}/metrics`, "GET")).status).toBe(401);
});

test("docs/observability.md tells of every metric, and of none that is not there", async () => {
  const text = await Bun.file(`${import.meta.dir}/../../docs/observability.md`).text();
  const table = text.slice(text.indexOf("| metric | what |")).split("\n\n", 1)[0] ?? "";
  const told = table.split("\n").flatMap((row) => {
    const [first = "", ...more] = [...(row.split("|")[1] ?? "").matchAll(/`([a-z_]+)`/g)].map(
      ([, name = ""]) => name,
    );
    // `_max` behind `agentbus_connections` stands for agentbus_connections_max: the words before it are those of the first.
    return first === ""
      ? []
      : [first, ...more.map((name) => (name.startsWith("_") ? stem(first, name) : name))];
  });
  const { text: shown } = await stack.owner.ask("GET", "/metrics");
  const there = [...shown.matchAll(/^# TYPE (\S+)/gm)].map(([, name = ""]) => name);
  expect(told.toSorted()).toEqual(there.toSorted());
});

/** A name whose end another one's is put in place of: `a_b_total` and `_c_total` are `a_c_total`, where only that is there. */
function stem(first: string, end: string): string {
  const base = first.replace(/_(?:operations|calls_total)$/, "");
  return `${base}${end}`;
}
