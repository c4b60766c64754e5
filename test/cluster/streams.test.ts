import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import type { Person } from "../gateway/stack.ts";
import { ended, say } from "../gateway/stack.ts";
import { hasPostgres } from "../support/postgres.ts";
import type { ServerEvent } from "../support/sse-client.ts";
import type { Nodes } from "./nodes.ts";
import { startNodes } from "./nodes.ts";

setDefaultTimeout(120_000);

const ANSWER = "Grüße aus\nder Ferne 🌍";

function textOf(events: readonly ServerEvent[]): string {
  return events
    .map(({ data }) => JSON.parse(data) as { type: string; content?: string })
    .flatMap(({ type, content }) => (type === "token" ? [content] : []))
    .join("");
}

/** Ids as numbers: what a stream must not lose or repeat. */
function seqs(events: readonly ServerEvent[]): number[] {
  return events.flatMap(({ id }) => (id === null ? [] : [Number(id.split(".")[1])]));
}

describe.skipIf(!hasPostgres)("what HTTP tells of a session that another node has", () => {
  let nodes: Nodes;
  let a: Person;
  let b: Person;
  beforeAll(async () => {
    nodes = await startNodes();
    [a, b] = [nodes.node(0).owner, nodes.node(1).owner];
  });
  afterAll(() => nodes[Symbol.asyncDispose]());

  test("run.wait resolves when it has ended there, and at its timeout before", async () => {
    nodes.model.reply().text("so far").hang();
    const { run_id } = await a.call("chat.send", { session_id: "waits", message: "go" });
    expect(await b.call("run.wait", { run_id, timeout_ms: 300 })).toMatchObject({ status: "running" });
    const waiting = [a, b].map((each) => each.call("run.wait", { run_id, timeout_ms: 30_000 }));
    nodes.model.reply().text("second");
    const queued = await b.call("chat.send", { session_id: "waits", message: "then" });
    const second = b.call("run.wait", { run_id: queued.run_id, timeout_ms: 30_000 });
    await b.call("chat.abort", { run_id });
    for (const each of waiting) expect(await each).toMatchObject({ run_id, status: "aborted" });
    expect(await second).toMatchObject({ run_id: queued.run_id, status: "completed" });
    expect(await b.call("run.get", { run_id })).toEqual(await a.call("run.get", { run_id }));
    expect(await b.call("run.list", { session_id: "waits" })).toEqual(
      await a.call("run.list", { session_id: "waits" }),
    );
  });

  test("POST /api/v1/chat and /api/v1/stream: an answer is read live and late at both, the same, and ends", async () => {
    await say(a, { session_id: "one", message: "first" });
    nodes.model.reply().text(ANSWER, { chunks: 5, everyMs: 20 });
    const begun = await b.ask("POST", "/api/v1/chat", { body: { session_id: "one", message: "hello" } });
    expect(begun.status).toBe(201);
    const { stream_url, run_id } = begun.json;
    const live = await Promise.all([a, b].map(async (each) => (await each.events(stream_url)).rest()));
    const late = await Promise.all([a, b].map(async (each) => (await each.events(stream_url)).rest()));
    for (const events of [...live, ...late]) {
      expect(textOf(events)).toBe(ANSWER);
      expect(JSON.parse(events.at(-1)?.data ?? "").type).toBe("complete");
      expect(events.map(({ raw }) => raw)).toEqual(live[0]?.map(({ raw }) => raw) ?? []);
    }
    // Who was cut off at one node continues at the other.
    const [first] = live[0] ?? [];
    const rest = await b.events(stream_url, { lastEventId: first?.id ?? "" });
    expect((await rest.rest()).map(({ raw }) => raw)).toEqual(live[0]?.slice(1).map(({ raw }) => raw) ?? []);
    const done = await b.events(stream_url, { lastEventId: live[0]?.at(-1)?.id ?? "" });
    expect(done.status).toBe(204);
    expect(await ended(b, run_id)).toMatchObject({ status: "completed" });
    // In one request.
    nodes.model.reply().text(ANSWER, { chunks: 5, everyMs: 20 });
    const streamed = await b.events("/api/v1/chat", {
      method: "POST",
      body: { session_id: "one", message: "again" },
    });
    expect(textOf(await streamed.rest())).toBe(ANSWER);
  });

  test("GET /api/v1/sessions/:id/events: in order, each once, from a cursor and from the beginning, over the nodes", async () => {
    await say(a, { session_id: "log", message: "first" });
    const { epoch } = await a.call("session.get", { session_id: "log" });
    const path = `/api/v1/sessions/log/events?after=${epoch}.0`;
    const [here, there] = [await a.events(path), await b.events(path)];
    nodes.model.reply().tokens(40, { everyMs: 10 });
    const { run_id } = await b.call("chat.send", { session_id: "log", message: "second" });
    const read = async (stream: typeof here): Promise<ServerEvent[]> => {
      const events: ServerEvent[] = [];
      for await (const event of stream) {
        events.push(event);
        if (event.event === "run.completed" && JSON.parse(event.data).run_id === run_id) break;
      }
      return events;
    };
    const durable = (events: readonly ServerEvent[]) =>
      events.filter(({ data }) => JSON.parse(data).seq !== undefined);
    const [one, two] = (await Promise.all([read(here), read(there)])).map(durable);
    expect(two?.length).toBeGreaterThan(15);
    expect(seqs(two ?? [])).toEqual(Array.from({ length: two?.length ?? 0 }, (_, at) => at + 1));
    expect(two?.map(({ data }) => data)).toEqual(one?.map(({ data }) => data) ?? []);
    // A reader that comes back, at the other node, with what it read last.
    const middle = two?.[Math.floor((two.length ?? 0) / 2)];
    const back = await a.events("/api/v1/sessions/log/events", { lastEventId: middle?.id ?? "" });
    const rest = durable(await read(back));
    expect(seqs(rest)).toEqual(seqs(two ?? []).filter((seq) => seq > Number(middle?.id?.split(".")[1])));
    for (const stream of [here, there, back]) stream.close();
  });
});
