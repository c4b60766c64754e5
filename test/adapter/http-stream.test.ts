import { describe, expect, test } from "bun:test";
import { says, until } from "../support/engine.ts";
import { framesOf, scripted, textOf, toldModel } from "./http.events.ts";
import type { TestHttp } from "./http.fixture.ts";
import { startHttp } from "./http.fixture.ts";

async function trim(at: TestHttp, session_id: string): Promise<void> {
  const { id } = await at.context.directory.find("owner", session_id, "read");
  const result = await at.core.engine.journal.run({
    kind: "trim",
    session: id,
    before: Date.now() + 60_000,
    max_rows: 2_000,
  });
  expect(result).toMatchObject({ ok: true, removed: expect.any(Number) });
}

describe("GET /api/v1/stream/:session_id", () => {
  test("late and twice it replays, and while it is written it follows", async () => {
    const model = toldModel();
    await using at = await startHttp({ script: model.script });
    const { body } = await at.ask("POST", "/api/v1/chat", { body: { message: "hi", session_id: "s1" } });
    model.say("one ");
    const first = await at.open(body.stream_url);
    const one = await first.next();
    const second = await at.open(body.stream_url);
    expect((await second.next()).raw).toBe(one.raw);
    model.say("two");
    model.stop();
    const rest = await first.rest();
    expect(textOf([one, ...rest])).toBe("one two");
    expect((await second.rest()).map((event) => event.raw)).toEqual(rest.map((event) => event.raw));
    const late = await (await at.open(body.stream_url)).rest();
    expect(late.map((event) => event.raw)).toEqual([one, ...rest].map((event) => event.raw));
  });

  test("a reconnect continues after what was read, and past the end there is nothing more", async () => {
    await using at = await startHttp({ script: says("a", "b", "c", "d") });
    const { body } = await at.ask("POST", "/api/v1/chat", { body: { message: "hi", session_id: "s1" } });
    const all = await (await at.open(body.stream_url)).rest();
    for (const [index, event] of all.entries()) {
      const again = await at.open(body.stream_url, { lastEventId: event.id ?? "" });
      const rest = all.slice(index + 1);
      expect(again.status).toBe(rest.length === 0 ? 204 : 200);
      expect((await again.rest()).map((each) => each.raw)).toEqual(rest.map((each) => each.raw));
    }
    await until(() => at.context.connections.size === 0);
  });

  test("without a run it is the newest", async () => {
    let count = 0;
    await using at = await startHttp({
      script: (request, signal) => says(`answer ${++count}`)(request, signal),
    });
    for (const message of ["one", "two"]) {
      await at.ask("POST", "/api/v1/chat", { body: { message, session_id: "s1", wait: true } });
    }
    expect(textOf(await (await at.open("/api/v1/stream/s1")).rest())).toBe("answer 2");
  });

  test("after trimming there is one token per message", async () => {
    await using at = await startHttp({ script: says("a", "b", "c") });
    const { body } = await at.ask("POST", "/api/v1/chat", { body: { message: "hi", session_id: "s1" } });
    const before = await (await at.open(body.stream_url)).rest();
    await trim(at, "s1");
    const after = await (await at.open(body.stream_url)).rest();
    expect(framesOf(after)).toEqual([{ type: "token", content: "abc" }, framesOf(before).at(-1)]);
    // Only the end has an id: a text that was read in part could not be continued.
    expect(after.map((event) => event.id !== null)).toEqual([false, true]);
    expect((await at.open(body.stream_url, { lastEventId: after.at(-1)?.id ?? "" })).status).toBe(204);
    const partly = await at.open(body.stream_url, { lastEventId: before[0]?.id ?? "" });
    expect([partly.status, ((await partly.json()) as { error: { code: string } }).error.code]).toEqual([
      410,
      "GONE",
    ]);
    await until(() => at.context.connections.size === 0);
  });

  test("a run that was stopped, and one the gateway stopped under, end with an error", async () => {
    const model = toldModel();
    await using at = await startHttp({ script: model.script });
    const { body } = await at.ask("POST", "/api/v1/chat", { body: { message: "hi", session_id: "s1" } });
    const stream = await at.open(body.stream_url);
    model.say("so");
    await stream.next();
    await at.ask("POST", "/api/v1/stop/s1");
    const last = framesOf(await stream.rest()).at(-1);
    expect(last).toEqual({
      type: "error",
      message: "the run was aborted",
      code: "CONFLICT",
      status: "aborted",
    });

    const other = await at.ask("POST", "/api/v1/chat", { body: { message: "hi", session_id: "s2" } });
    const cut = await at.open(other.body.stream_url);
    model.say("far");
    await cut.next();
    at.core.engine.runs.drain();
    await at.core.engine.runs.close();
    expect(framesOf(await cut.rest()).at(-1)).toMatchObject({
      type: "error",
      code: "UNAVAILABLE",
      status: "interrupted",
    });
  });

  test("reasoning is not the answer, and another run's text is not this one's", async () => {
    const model = toldModel();
    let count = 0;
    await using at = await startHttp({
      script: (request, signal) =>
        ++count === 1
          ? model.script(request, signal)
          : scripted(
              { type: "reasoning", text: "hm" },
              { type: "text", text: "mine" },
              { type: "done", finish_reason: "stop" },
            )(request, signal),
    });
    const first = await at.ask("POST", "/api/v1/chat", { body: { message: "one", session_id: "s1" } });
    const second = await at.ask("POST", "/api/v1/chat", { body: { message: "two", session_id: "s1" } });
    const streams = [await at.open(first.body.stream_url), await at.open(second.body.stream_url)];
    model.say("one two");
    model.stop();
    const texts = await Promise.all(streams.map(async (stream) => textOf(await stream.rest())));
    expect(texts).toEqual(["one two", "mine"]);
  });

  test("refusals come as JSON", async () => {
    await using at = await startHttp();
    await at.ask("POST", "/api/v1/sessions", { body: { session_id: "s1" } });
    const other = await at.send("s2");
    const tried = [
      ["/api/v1/stream/s1", 404],
      ["/api/v1/stream/nowhere", 404],
      [`/api/v1/stream/s1?run=${other.run_id}`, 404],
      ["/api/v1/stream/s1?run=run_none", 404],
      ["/api/v1/stream/s1?after=x", 422],
    ] as const;
    for (const [path, status] of tried)
      expect([path, (await at.ask("GET", path)).status]).toEqual([path, status]);
    // What a method refuses is counted where methods are.
    const counted = at.counted.errors.length;
    await at.ask("GET", "/api/v1/stream/s1?run=run_none");
    expect(at.counted.errors).toHaveLength(counted);
    expect((await at.ask("GET", "/api/v1/stream/s2", { token: "other" })).status).toBe(404);
    expect((await at.ask("GET", "/api/v1/stream/s2", { token: null })).status).toBe(401);
    expect(at.context.connections.size).toBe(0);
  });
});
