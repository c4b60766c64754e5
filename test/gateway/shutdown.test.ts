import { describe, expect, test } from "bun:test";
import { startGateway } from "../support/gateway-process.ts";
import { requestUpgrade } from "../support/ws-client.ts";
import type { Stack } from "./stack.ts";
import { eventually, log, refusal, startStack, typesOf } from "./stack.ts";

/** A gateway with an answer that is being written, and one that waits behind it. */
async function busy(stack: Stack) {
  const { owner } = stack;
  const socket = await owner.connect();
  const { epoch } = await socket.request("session.create", { session_id: "s" });
  await socket.request("session.subscribe", { session_id: "s", after: 0 });
  const running = await socket.request("chat.send", { session_id: "s", message: "go" });
  await socket.nextEvent("message.delta");
  const queued = await socket.request("chat.send", { session_id: "s", message: "and then" });
  const stream = await owner.events(`/api/v1/sessions/s/events?after=${epoch}.0`);
  await stream.next(({ event }) => event === "session.synced");
  return { socket, stream, epoch, running: running.run_id as string, queued: queued.run_id as string };
}

const grace = (shutdown_grace_secs: number) => ({ config: { server: { shutdown_grace_secs } } });

describe("SIGTERM", () => {
  test("with a delay /ready says so at once, while everything is served until it is over or a second signal comes", async () => {
    await using stack = await startStack({
      config: { server: { shutdown_delay_secs: 600, shutdown_grace_secs: 20 } },
    });
    const { gateway, owner, model } = stack;
    await using before = await owner.connect();
    gateway.kill("SIGTERM");
    const { json } = await eventually(
      () => owner.ask("GET", "/ready"),
      ({ status }) => status === 503,
    );
    expect(json).toMatchObject({ status: "unready", checks: { draining: { ok: false } } });
    expect((await owner.ask("GET", "/status")).json.status).toBe("healthy");
    model.reply().text("as before");
    await using after = await owner.connect();
    const { run_id } = await after.request("chat.send", { session_id: "s", message: "go" });
    expect(await before.request("run.wait", { run_id })).toMatchObject({ status: "completed" });
    expect(before.frames.some((frame) => frame.json.event === "shutdown")).toBe(false);
    gateway.kill("SIGTERM");
    expect((await before.nextEvent("shutdown")).json.payload.grace_ms).toBe(20_000);
    expect((await after.closed).code).toBe(1012);
    expect(await gateway.exited).toBe(0);
  });

  test("what runs may end in its grace, what waits is ended, everybody is told, nothing is lost", async () => {
    await using stack = await startStack(grace(20));
    const { gateway, owner, model } = stack;
    model.reply().tokens(60, { everyMs: 30 }).usage({ prompt_tokens: 1, completion_tokens: 60 });
    const { session_token } = await owner.call("auth_session.create");
    const { socket, stream, epoch, running, queued } = await busy(stack);
    gateway.kill("SIGTERM");
    const told = await socket.nextEvent("shutdown");
    expect(told.json.payload).toEqual({ grace_ms: 20_000, retry_after_ms: expect.any(Number) });

    // No new work, no new connections; what is there goes on, and reads are answered.
    const ready = await owner.ask("GET", "/ready");
    expect([ready.status, ready.json]).toMatchObject([
      503,
      { status: "unready", checks: { draining: { ok: false }, store: { ok: true } } },
    ]);
    expect((await owner.ask("GET", "/health")).status).toBe(200);
    expect((await owner.ask("GET", "/status")).json.status).toBe("draining");
    const upgrade = await requestUpgrade(gateway.ws_url, owner.bearer);
    expect([upgrade.status, upgrade.headers.has("retry-after")]).toEqual([503, true]);
    const events = await owner.ask("GET", "/api/v1/sessions/s/events");
    expect([events.status, events.headers.has("retry-after"), events.json.error.code]).toEqual([
      503,
      true,
      "UNAVAILABLE",
    ]);
    const turned = {
      code: "UNAVAILABLE",
      details: { kind: "draining" },
      retryable: true,
      retry_after_ms: expect.any(Number),
    };
    for (const [method, params] of [
      ["chat.send", { message: "x" }],
      ["session.create", {}],
      ["token.create", { name: "x" }],
    ] as const) {
      expect([method, await refusal(socket.request(method, params))]).toMatchObject([method, turned]);
      expect([method, await refusal(owner.call(method, params))]).toMatchObject([method, turned]);
    }
    expect(await socket.request("run.get", { run_id: running })).toMatchObject({ status: "running" });
    expect(await socket.request("run.wait", { run_id: queued })).toMatchObject({
      status: "interrupted",
      reason: "shutdown",
    });

    expect((await socket.closed).code).toBe(1012);
    expect(await gateway.exited).toBe(0);
    const seen = log(socket, "s");
    expect(
      seen
        .filter(({ event }) => /^run\.(completed|interrupted)$/.test(event))
        .map(({ event, payload }) => [event, payload.run.run_id]),
    ).toEqual([
      ["run.interrupted", queued],
      ["run.completed", running],
    ]);
    const rest = await stream.rest();
    expect(rest.filter(({ id }) => id !== null).map(({ data }) => JSON.parse(data))).toEqual(
      seen.slice(-rest.filter(({ id }) => id !== null).length),
    );
    expect(rest.map(({ event }) => event)).toContain("shutdown");
    expect(rest.map(({ event }) => event)).toContain("run.completed");

    await gateway.restart();
    expect(gateway.log.filter(({ msg }) => msg.includes("did not stop cleanly"))).toEqual([]);
    expect((await owner.ask("GET", "/ready")).status).toBe(200);
    expect(await owner.call("run.get", { run_id: running })).toMatchObject({
      status: "completed",
      usage: { output_tokens: 60 },
    });
    const text = Array.from({ length: 60 }, (_, i) => `t${i}`).join(" ");
    const { messages } = await owner.call("chat.history", { session_id: "s" });
    expect(messages.map(({ content }: { content: string }) => content).toSorted()).toEqual([
      "and then",
      "go",
      text,
    ]);
    // The same log: every cursor still counts, and who was let in still is.
    await using late = await stack.person(session_token).connect();
    const last = seen.at(-1)?.seq;
    expect(await late.request("session.subscribe", { session_id: "s", epoch, after: 0 })).toMatchObject({
      mode: "resume",
      head: last,
    });
    await late.nextEvent("session.synced");
    expect(log(late, "s")).toEqual(seen);
  });

  test("what has not ended by then is interrupted, with its text so far", async () => {
    await using stack = await startStack(grace(1));
    const { gateway, owner, model } = stack;
    model.reply().text("so far").hang();
    const { socket, running, queued } = await busy(stack);
    const began = performance.now();
    gateway.kill("SIGTERM");
    expect((await socket.closed).code).toBe(1012);
    expect(await gateway.exited).toBe(0);
    expect(performance.now() - began).toBeWithin(900, 6_000);
    const ends = log(socket, "s").filter(({ event }) => event === "run.interrupted");
    expect(ends.map(({ payload }) => [payload.run.run_id, payload.run.reason])).toEqual([
      [queued, "shutdown"],
      [running, "shutdown"],
    ]);
    await model.waitForAbort();
    await gateway.restart();
    const { messages } = await owner.call("chat.history", { session_id: "s" });
    expect(messages.find(({ role }: { role: string }) => role === "assistant")).toMatchObject({
      status: "partial",
      content: "so far",
      run_id: running,
    });
    expect(await owner.call("session.get", { session_id: "s" })).toMatchObject({
      head: log(socket, "s").at(-1)?.seq,
    });
    expect(await owner.call("chat.send", { session_id: "s", message: "go on" })).toMatchObject({
      status: "started",
    });
  });

  test("an abort still works in the grace, and a second signal waits no longer", async () => {
    await using stack = await startStack(grace(60));
    const { gateway, owner, model } = stack;
    model.reply().text("so far").hang();
    const { socket, running } = await busy(stack);
    model.reply().text("other").hang();
    // Begun before the signal, in another session.
    await using other = await owner.connect();
    gateway.kill("SIGTERM");
    await other.nextEvent("shutdown");
    expect(await other.request("chat.abort", { run_id: running })).toEqual({
      run_ids: [running],
      status: "aborted",
    });
    expect((await socket.closed).code).toBe(1012);
    expect(await gateway.exited).toBe(0);
    await gateway.restart();
    expect(await owner.call("run.get", { run_id: running })).toMatchObject({
      status: "aborted",
      ended_by: "owner",
    });
    model.reply().text("so far").hang();
    const { run_id } = await owner.call("chat.send", { session_id: "t", message: "go" });
    await eventually(
      () => owner.call("run.get", { run_id }),
      ({ status }) => status === "running",
    );
    gateway.kill("SIGINT");
    await eventually(
      async () => (await owner.ask("GET", "/ready")).status,
      (status) => status === 503,
    );
    gateway.kill("SIGINT");
    expect(await gateway.exited).toBe(0);
    await gateway.restart();
    expect(await owner.call("run.get", { run_id })).toMatchObject({
      status: "interrupted",
      reason: "shutdown",
    });
  });
});

describe("a data directory is one gateway's", () => {
  test("the second is told whose it is, in one line, and the first does not notice", async () => {
    await using first = await startGateway();
    const error = await startGateway({ data_dir: first.data_dir }).then(
      () => null,
      (cause: Error) => cause,
    );
    const [ended = "", ...said] = (error?.message ?? "it started").split("\n");
    expect(ended).toBe("the gateway ended with 1 before it listened");
    expect(said).toHaveLength(1);
    expect(said[0]).toContain(`in use by another agentbus process (pid ${first.pid})`);
    expect(said[0]).toContain(first.data_dir);
    expect((await fetch(`${first.url}/ready`)).status).toBe(200);
  });

  test("a port that is taken is told in one line", async () => {
    await using first = await startGateway();
    const { port } = new URL(first.url);
    const error = await startGateway({ env: { AGENTBUS_SERVER_PORT: port } }).then(
      () => null,
      (cause: Error) => cause,
    );
    const [ended = "", ...said] = (error?.message ?? "it started").split("\n");
    expect([ended, said.length]).toEqual(["the gateway ended with 1 before it listened", 1]);
    expect(said[0]).toContain(`127.0.0.1:${port} is in use`);
    expect(said[0]).toContain("server.port");
  });
});

test("kill -9: what was written is there, what ran is interrupted, and cursors still count", async () => {
  await using stack = await startStack();
  const { gateway, owner, model } = stack;
  model.reply().text("written before", { chunks: 3, everyMs: 5 }).hang();
  const { socket, epoch, running, queued } = await busy(stack);
  const length = (): number =>
    Math.max(0, ...log(socket, "s").map(({ payload }) => (payload.off ?? 0) + (payload.text?.length ?? 0)));
  await eventually(length, (read) => read === "written before".length);
  gateway.kill("SIGKILL");
  expect((await socket.closed).code).toBe(1006);
  const seen = log(socket, "s");
  await gateway.restart();
  expect(gateway.log).toContainEqual(
    expect.objectContaining({ msg: "the last process did not stop cleanly", last_stop: "crash", runs: 2 }),
  );
  for (const run_id of [running, queued]) {
    expect(await owner.call("run.get", { run_id })).toMatchObject({
      status: "interrupted",
      reason: "restart",
    });
  }
  await using late = await owner.connect();
  const opened = await late.request("session.subscribe", { session_id: "s", epoch, after: 0 });
  expect(opened).toMatchObject({ mode: "resume", epoch });
  await late.nextEvent("session.synced");
  const all = log(late, "s");
  expect(all.slice(0, seen.length)).toEqual(seen);
  expect(typesOf(all.slice(seen.length)).toSorted()).toEqual([
    "message.completed",
    "run.interrupted",
    "run.interrupted",
  ]);
  const done = all.find(({ event }) => event === "message.completed");
  expect(done?.payload.message).toMatchObject({ status: "partial", content: "written before" });
  expect((await owner.call("run.list", { status: "running" })).runs).toEqual([]);
  expect((await owner.call("run.list", { status: "queued" })).runs).toEqual([]);
  expect(await owner.call("system.status")).toMatchObject({
    status: "healthy",
    runs: { active: 0, queued: 0 },
  });
});
