import { afterAll, beforeAll, expect, test } from "bun:test";
import type { RunningGateway } from "../support/gateway-process.ts";
import { startGateway } from "../support/gateway-process.ts";
import { script } from "../support/model-script.ts";
import type { ModelServer } from "../support/model-server.ts";
import { startModelServer } from "../support/model-server.ts";
import { openEvents } from "../support/sse-client.ts";
import type { TestSocket } from "../support/ws-client.ts";
import { openSocket } from "../support/ws-client.ts";

let model: ModelServer;
let gateway: RunningGateway;
beforeAll(async () => {
  model = await startModelServer();
  gateway = await startGateway({
    env: {
      AGENTBUS_LLM_PROVIDERS_TEST_BASE_URL: model.url(),
      AGENTBUS_LLM_DEFAULT_PROVIDER: "test",
      AGENTBUS_LLM_DEFAULT_MODEL: "fake-1",
    },
  });
});
afterAll(async () => {
  await gateway[Symbol.asyncDispose]();
  await model[Symbol.asyncDispose]();
});

function connect(): Promise<TestSocket> {
  return openSocket(gateway.ws_url, { headers: { authorization: `Bearer ${gateway.token}` } });
}

// oxlint-disable-next-line typescript/no-explicit-any -- a test looks wherever it likes
async function rest(method: string, path: string, body?: unknown): Promise<{ status: number; json: any }> {
  const response = await fetch(`${gateway.url}${path}`, {
    method,
    headers: { authorization: `Bearer ${gateway.token}`, "content-type": "application/json" },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  return { status: response.status, json: text === "" ? null : JSON.parse(text) };
}

async function settled(session: string): Promise<void> {
  const { json } = await rest("POST", "/api/v1/rpc/run.list", { session_id: session });
  for (const run of json.runs)
    await rest("POST", "/api/v1/rpc/run.wait", { run_id: run.run_id, timeout_ms: 10_000 });
}

test("written over a socket, read over REST and SSE: byte-equal frames at the same time", async () => {
  model.reply().text("one two three four", { chunks: 4, everyMs: 20 }).finish("stop");
  await using writer = await connect();
  await using other = await connect();
  const { epoch } = await writer.request("session.create", { session_id: "x1", title: "from a socket" });
  await other.request("session.subscribe", { session_id: "x1", after: 0 });
  const sse = await openEvents(`${gateway.url}/api/v1/sessions/x1/events?after=${epoch}.0`, {
    headers: { authorization: `Bearer ${gateway.token}` },
  });
  const fromSse: string[] = [];
  const reading = (async () => {
    for await (const event of sse) {
      if (event.id !== null && event.event !== "session.resumed") fromSse.push(event.data);
      if (event.event === "run.completed") break;
    }
  })();
  await writer.request("chat.send", { session_id: "x1", message: "count" });
  await writer.nextEvent("run.completed");
  await other.nextEvent("run.completed");
  await reading;
  await sse.close();
  const durable = (socket: TestSocket): string[] =>
    socket.frames.filter(({ json }) => json.seq !== undefined).map(({ raw }) => raw);
  // The writer follows from its own message on.
  const fromOther = durable(other);
  expect(durable(writer)).toEqual(fromOther.slice(-durable(writer).length));
  expect(fromSse).toEqual(fromOther);
  expect(fromOther.length).toBeGreaterThan(6);
  const session = await rest("GET", "/api/v1/sessions/x1");
  expect(session).toMatchObject({ status: 200, json: { title: "from a socket", message_count: 2 } });
  const messages = await rest("GET", "/api/v1/sessions/x1/messages");
  expect(messages.json.messages.map((message: { content: string }) => message.content)).toEqual([
    "count",
    "one two three four",
  ]);
});

test("written over REST, read over a socket; aborted over REST, seen on the socket", async () => {
  model.reply().text("partial answer", { chunks: 2, everyMs: 5 }).hang();
  const made = await rest("POST", "/api/v1/sessions", { session_id: "x2", title: "from REST" });
  expect(made.status).toBe(201);
  await using socket = await connect();
  expect(await socket.request("session.get", { session_id: "x2" })).toMatchObject({ title: "from REST" });
  await socket.request("session.subscribe", { session_id: "x2", after: 0 });
  const sent = await rest("POST", "/api/v1/sessions/x2/messages", { message: "over REST" });
  expect(sent).toMatchObject({ status: 202, json: { status: "started", subscribed: false } });
  await socket.nextEvent("message.delta");
  const stopped = await rest("POST", "/api/v1/sessions/x2/abort", {});
  expect(stopped).toMatchObject({ status: 200, json: { run_ids: [sent.json.run_id], status: "aborted" } });
  const end = await socket.nextEvent("run.aborted");
  expect(end.json.payload.run).toMatchObject({
    run_id: sent.json.run_id,
    status: "aborted",
    ended_by: "owner",
  });
  await model.waitForAbort();
  const run = await rest("GET", `/api/v1/runs/${sent.json.run_id}`);
  expect(run.json).toMatchObject({ status: "aborted", session_id: "x2" });
});

test("aborted over a socket, seen by an SSE reader", async () => {
  model.reply().text("so far", { chunks: 1 }).hang();
  await using socket = await connect();
  const sent = await socket.request("chat.send", { session_id: "x3", message: "go" });
  const sse = await openEvents(`${gateway.url}/api/v1/sessions/x3/events`, {
    headers: { authorization: `Bearer ${gateway.token}` },
  });
  await socket.nextEvent("message.delta");
  await socket.request("chat.abort", { run_id: sent.run_id });
  let ended = "";
  for await (const event of sse) {
    if (event.event?.startsWith("run.") === true && event.event !== "run.started") ended = event.event;
    if (ended !== "" && ended !== "run.queued") break;
  }
  await sse.close();
  expect(ended).toBe("run.aborted");
});

test("the one-shot route: 201 with a stream, which replays for whoever comes late or twice", async () => {
  model
    .reply()
    .text("alpha beta", { chunks: 2 })
    .usage({ prompt_tokens: 3, completion_tokens: 2 })
    .finish("stop");
  const started = await rest("POST", "/api/v1/chat", { message: "one shot" });
  expect(started).toMatchObject({ status: 201, json: { status: "streaming" } });
  const read = async (): Promise<{ type: string; content?: string }[]> => {
    const events = await openEvents(`${gateway.url}${started.json.stream_url}`, {
      headers: { authorization: `Bearer ${gateway.token}` },
    });
    const all: { type: string; content?: string }[] = [];
    for await (const event of events) if (event.data !== "") all.push(JSON.parse(event.data));
    return all;
  };
  const first = await read();
  expect(first.at(-1)).toMatchObject({ type: "complete" });
  const tokens = first.filter((event) => event.type === "token").map((event) => event.content);
  expect(tokens.join("")).toBe("alpha beta");
  const again = await read();
  expect(
    again
      .filter((event) => event.type === "token")
      .map((event) => event.content)
      .join(""),
  ).toBe("alpha beta");
  model.reply().text("waited for").finish("stop");
  const waited = await rest("POST", "/api/v1/chat", { message: "wait", wait: true });
  expect(waited.status).toBe(200);
  expect(JSON.stringify(waited.json)).toContain("waited for");
});

test("a repeated request has one effect over any transport", async () => {
  model.otherwise(() => script().text("same").finish("stop"));
  await using a = await connect();
  await using b = await connect();
  const params = { session_id: "x5", message: "only once", idempotency_key: "k-x5" };
  const answers = await Promise.all([
    a.request("chat.send", params),
    b.request("chat.send", params),
    rest("POST", "/api/v1/rpc/chat.send", params).then(({ json }) => json),
    rest("POST", "/api/v1/sessions/x5/messages", { message: "only once", idempotency_key: "k-x5" }).then(
      ({ json }) => json,
    ),
    a.request("chat.send", params),
  ]);
  expect(new Set(answers.map((answer) => answer.message_id)).size).toBe(1);
  await settled("x5");
  const { json } = await rest("GET", "/api/v1/sessions/x5/messages");
  expect(json.total).toBe(2);
  const other = await rest("POST", "/api/v1/rpc/chat.send", { ...params, message: "another" });
  expect(other).toMatchObject({ status: 422, json: { error: { code: "IDEMPOTENCY_MISMATCH" } } });
});

test("a failing model is an event with its error, and what was said stays, partial", async () => {
  model.reply().text("half an ans").errorInStream("no more");
  await using socket = await connect();
  await socket.request("chat.send", { session_id: "x6", message: "go" });
  const failed = await socket.nextEvent("run.failed");
  expect(failed.json.payload.run.error).toMatchObject({ code: "UPSTREAM_ERROR" });
  const history = await socket.request("chat.history", { session_id: "x6" });
  expect(history.messages[1]).toMatchObject({ status: "partial", content: "half an ans" });
});
