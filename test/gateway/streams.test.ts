import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import type { EventReader, ServerEvent } from "../support/sse-client.ts";
import { frameOf, opening } from "./event-stream.ts";
import type { Person, Stack } from "./stack.ts";
import { ended, eventually, idle, log, say, startStack } from "./stack.ts";

let stack: Stack;
let owner: Person;
/** Open and quiet from the beginning of the file on. */
let quiet: { stream: EventReader; since: number };
beforeAll(async () => {
  stack = await startStack();
  ({ owner } = stack);
  await owner.call("session.create", { session_id: "quiet" });
  quiet = { stream: await open("quiet"), since: performance.now() };
});
beforeEach(() => idle(stack));
afterAll(() => stack[Symbol.asyncDispose]());

function open(session_id: string, query = "", lastEventId?: string): Promise<EventReader> {
  const path = `/api/v1/sessions/${session_id}/events${query === "" ? "" : `?${query}`}`;
  return owner.events(path, lastEventId === undefined ? {} : { lastEventId });
}

describe("until a run", () => {
  test("the stream ends with `end` right after the run's end, and a reconnect there gets 204", async () => {
    stack.model.reply().text("one two three", { chunks: 3, everyMs: 20 });
    const { epoch } = await owner.call("session.create", { session_id: "until" });
    const sent = await owner.call("chat.send", { session_id: "until", message: "go" });
    const stream = await open("until", `after=${epoch}.0&until=${sent.run_id}`);
    const events = await stream.rest();
    expect(events.slice(-2).map(({ event, id }) => [event, id === null])).toEqual([
      ["run.completed", false],
      ["end", true],
    ]);
    expect(frameOf(events.at(-1))).toMatchObject({
      type: "event",
      event: "end",
      session_id: "until",
      payload: { run_id: sent.run_id },
    });
    const last = events.at(-2)?.id ?? "";
    const again = await open("until", `until=${sent.run_id}`, last);
    expect([again.status, await again.rest()]).toEqual([204, []]);
    await owner.call("chat.inject", { session_id: "until", role: "user", content: "later" });
    const { head } = await owner.call("session.get", { session_id: "until" });
    expect((await open("until", `until=${sent.run_id}`, `${epoch}.${head}`)).status).toBe(204);
    // From before the end: what is missing, and the end again.
    const seqs = events.flatMap(({ id, event }) => (id === null || event === "session.resumed" ? [] : [id]));
    const middle = seqs[Math.floor(seqs.length / 2)] ?? "";
    const rest = await (await open("until", `until=${sent.run_id}`, middle)).rest();
    expect(rest[0]).toMatchObject({ event: "session.resumed", id: middle });
    expect(rest.slice(1, -1).map(({ id }) => id)).toEqual(seqs.slice(seqs.indexOf(middle) + 1));
    expect(rest.at(-1)?.event).toBe("end");
    // Without a cursor the snapshot holds the end already.
    expect((await (await open("until", `until=${sent.run_id}`)).rest()).map(({ event }) => event)).toEqual([
      "session.snapshot",
      "session.synced",
      "end",
    ]);
  });

  test("whichever way it ends, and not for another run of the session", async () => {
    stack.model.reply().text("half").errorInStream("no more");
    const first = await owner.call("chat.send", { session_id: "until-2", message: "a" });
    const second = await owner.call("chat.send", { session_id: "until-2", message: "b" });
    const stream = await open("until-2", `until=${second.run_id}&after=${first.epoch}.0`);
    const events = await stream.rest();
    const types = events.map(({ event }) => event);
    expect(types).toContain("run.failed");
    expect(types.slice(-2)).toEqual(["run.completed", "end"]);
    expect(
      (await open("until-2", `until=${first.run_id}&after=${first.epoch}.0`).then((each) => each.rest()))
        .slice(-2)
        .map(({ event }) => event),
    ).toEqual(["run.failed", "end"]);
    for (const run_id of ["run_unknown", (await say(owner, { message: "elsewhere" })).run.run_id]) {
      const { status, json } = await owner.ask("GET", `/api/v1/sessions/until-2/events?until=${run_id}`);
      expect([status, json.error.details]).toEqual([404, { kind: "run" }]);
    }
  });
});

test("a stream that comes in the middle of an answer folds to the same text as one from the start", async () => {
  stack.model.reply().tokens(200, { everyMs: 2 });
  const { epoch } = await owner.call("session.create", { session_id: "middle" });
  const { run_id } = await owner.call("chat.send", { session_id: "middle", message: "go" });
  const readers: Promise<ServerEvent[]>[] = [];
  const all = await open("middle", `after=${epoch}.0&until=${run_id}&catch_up=log`);
  const events: ServerEvent[] = [];
  for await (const event of all) {
    events.push(event);
    if (event.event !== "message.delta" || events.length % 3 !== 0) continue;
    readers.push(
      open("middle", `until=${run_id}&catch_up=log`, event.id ?? "").then((stream) => stream.rest()),
    );
  }
  expect(readers.length).toBeGreaterThan(2);
  const durable = events
    .filter(({ id, event }) => id !== null && event !== "session.resumed")
    .map(({ raw }) => raw);
  for (const [first, ...rest] of await Promise.all(readers)) {
    expect(first?.event).toBe("session.resumed");
    const seen = rest.filter(({ id }) => id !== null).map(({ raw }) => raw);
    expect(seen).toEqual(durable.slice(-seen.length));
  }
  await ended(owner, run_id);
});

test("the session's deletion ends the stream with its last event", async () => {
  const { epoch } = await owner.call("session.create", { session_id: "gone" });
  const stream = await open("gone");
  await opening(stream);
  await owner.call("session.delete", { session_id: "gone" });
  const events = await stream.rest();
  expect(events.map(({ event, id }) => [event, id])).toEqual([
    ["session.closed", `${epoch}.2`],
    ["session.unsubscribed", null],
  ]);
  expect((await open("gone", "", `${epoch}.2`)).status).toBe(410);
});

test("a stream is a connection: named, listed, counted, disconnected, and gone when its client leaves", async () => {
  await owner.call("session.create", { session_id: "listed" });
  const stream = await owner.events("/api/v1/sessions/listed/events", { headers: { "x-client-id": "tv" } });
  await opening(stream);
  const find = async (): Promise<{ connection_id: string }[]> =>
    (await owner.call("client.list")).clients.filter(
      (each: { client_id: string }) => each.client_id === "tv",
    );
  const [mine] = await find();
  expect(mine).toMatchObject({ transport: "sse", user: "owner", state: "connected" });
  expect((await owner.call("presence.list", { session_id: "listed" })).watchers).toMatchObject([
    { client_id: "tv" },
  ]);
  await owner.call("client.disconnect", { connection_id: mine?.connection_id });
  expect(await stream.rest()).toEqual([]);
  const other = await owner.events("/api/v1/sessions/listed/events", { headers: { "x-client-id": "tv" } });
  await opening(other);
  other.close();
  await eventually(find, (found) => found.length === 0);
});

test("frames are those of a socket, byte for byte, the live ones too", async () => {
  stack.model.reply().reasoning("hm").text("Grüße\n\n🌍", { chunks: 4, everyMs: 5 });
  await using socket = await owner.connect();
  const { epoch } = await socket.request("session.create", { session_id: "bytes" });
  await socket.request("session.subscribe", { session_id: "bytes", after: 0 });
  const stream = await open("bytes", `after=${epoch}.0`);
  const { run } = await say(owner, { session_id: "bytes", message: "data: x\n\nid: 1" });
  await socket.next(({ json }) => json.event === "run.completed");
  const raw: string[] = [];
  for await (const event of stream) {
    if (event.id !== null && event.event !== "session.resumed") raw.push(event.data);
    if (event.event === "run.completed") break;
  }
  expect(raw.map((text) => JSON.parse(text))).toEqual(log(socket, "bytes"));
  expect(raw).toEqual(socket.frames.filter(({ json }) => json.seq !== undefined).map((each) => each.raw));
  expect(frameOf({ data: raw.at(-1) ?? "" } as ServerEvent).payload.run.run_id).toBe(run.run_id);
});

test("a comment comes every 10 s, so that nobody on the way takes it for dead", async () => {
  const { stream, since } = quiet;
  const reading = stream.rest();
  await eventually(
    () => stream.silent.filter((block) => block.startsWith(":")).length,
    (count) => count >= 1,
    15_000,
  );
  expect(performance.now() - since).toBeLessThan(12_500);
  stream.close();
  await reading.catch(() => []);
});
