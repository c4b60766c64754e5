import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { EventReader, ServerEvent } from "../support/sse-client.ts";
import { frameOf, opening } from "./event-stream.ts";
import type { Person, Stack } from "./stack.ts";
import { startStack } from "./stack.ts";

let stack: Stack;
let owner: Person;
beforeAll(async () => {
  stack = await startStack({ config: { limits: { far_events: 20 } } });
  ({ owner } = stack);
});
afterAll(() => stack[Symbol.asyncDispose]());

function open(session_id: string, query = "", lastEventId?: string): Promise<EventReader> {
  const path = `/api/v1/sessions/${session_id}/events${query === "" ? "" : `?${query}`}`;
  return owner.events(path, lastEventId === undefined ? {} : { lastEventId });
}

async function caughtUp(session_id: string, query = "", lastEventId?: string): Promise<ServerEvent[]> {
  const stream = await open(session_id, query, lastEventId);
  const events = await opening(stream);
  stream.close();
  return events;
}

/** A session with `count` messages: its epoch, and the text of all its events as a socket reads them. */
async function filled(session_id: string, count: number): Promise<{ epoch: string; raw: string[] }> {
  const { epoch } = await owner.call("session.create", { session_id });
  for (let i = 0; i < count; i++)
    await owner.call("chat.inject", { session_id, role: "user", content: `m${i}` });
  await using socket = await owner.connect();
  await socket.request("session.subscribe", { session_id, after: 0, catch_up: "log" });
  await socket.nextEvent("session.synced");
  const raw = socket.frames.filter(({ json }) => json.seq !== undefined).map((each) => each.raw);
  expect(raw).toHaveLength(count + 1);
  return { epoch, raw };
}

test("the answer is a stream that nobody on the way keeps, greets at once and has ids where there is a seq", async () => {
  const { epoch } = await filled("head", 2);
  const stream = await open("head");
  expect(stream.status).toBe(200);
  expect(stream.headers.get("content-type")).toBe("text/event-stream");
  expect(stream.headers.get("x-accel-buffering")).toBe("no");
  expect(stream.headers.get("cache-control")).toBe("no-store");
  const [first, synced, ...more] = await opening(stream);
  expect(more).toEqual([]);
  expect(stream.silent[0]).toStartWith("retry: 1000\n:");
  expect([first?.event, first?.id]).toEqual(["session.snapshot", `${epoch}.3`]);
  expect(frameOf(first)).toMatchObject({
    type: "event",
    event: "session.snapshot",
    session_id: "head",
    epoch,
    payload: { head: 3, snapshot: { has_more: false } },
  });
  expect(frameOf(first).payload.snapshot.messages.map(({ content }: { content: string }) => content)).toEqual(
    ["m0", "m1"],
  );
  expect([synced?.id, frameOf(synced).payload]).toEqual([null, { epoch, at: 3 }]);
  await owner.call("event.broadcast", { event: "app.signal", payload: {}, filter: { session_id: "head" } });
  await owner.call("chat.inject", { session_id: "head", role: "user", content: "live" });
  const signal = await stream.next(({ event }) => event === "app.signal");
  const live = await stream.next(({ event }) => event === "message.created");
  expect([signal.id, live.id]).toEqual([null, `${epoch}.4`]);
  expect(live.raw).toBe(`id: ${epoch}.4\nevent: message.created\ndata: ${live.data}`);
  stream.close();
});

describe("a cursor", () => {
  test("from anywhere in the log: session.resumed with the cursor as its id, then everything behind it, once", async () => {
    const { epoch, raw } = await filled("resume", 9);
    for (let after = 0; after <= 10; after++) {
      for (const by of ["query", "header"] as const) {
        const cursor = `${epoch}.${after}`;
        const [first, ...events] = await caughtUp(
          "resume",
          by === "query" ? `after=${cursor}` : "",
          by === "header" ? cursor : undefined,
        );
        expect([first?.event, first?.id, frameOf(first).payload]).toEqual([
          "session.resumed",
          cursor,
          { from: after, head: 10 },
        ]);
        const synced = events.pop();
        expect([synced?.event, frameOf(synced).payload.at]).toEqual(["session.synced", 10]);
        expect(events.map(({ data }) => data)).toEqual(raw.slice(after));
        expect(events.map(({ id }) => id)).toEqual(
          raw.slice(after).map((_, i) => `${epoch}.${after + i + 1}`),
        );
      }
    }
  });

  test("Last-Event-ID goes before ?after; one that does not parse counts as none", async () => {
    const { epoch } = await filled("which", 3);
    const fromOf = async (query: string, header?: string): Promise<unknown> => {
      const [first] = await caughtUp("which", query, header);
      return first?.event === "session.resumed" ? frameOf(first).payload.from : first?.event;
    };
    expect(await fromOf(`after=${epoch}.1`, `${epoch}.2`)).toBe(2);
    for (const header of [
      "",
      "x",
      epoch,
      `${epoch}.`,
      `${epoch}.x`,
      `${epoch}.-1`,
      `${epoch}.1.5`,
      `${epoch}.99999999999999999`,
      ` ${epoch}`,
      "42",
    ]) {
      expect([header, await fromOf("", header)]).toEqual([header, "session.snapshot"]);
      expect([header, await fromOf(`after=${epoch}.1`, header)]).toEqual([header, 1]);
    }
  });

  test("in the URL has to be right: 400", async () => {
    await filled("wrong", 1);
    for (const after of [
      "",
      "x",
      "1",
      "abcdefgh",
      "abcdefgh.",
      "abcdefgh.x",
      "abcdefgh.-1",
      "abcdefgh.1.5",
      "ABCDEFGH.1",
      "abcdefgh.99999999999999999",
      "abcdefghi.1",
      "abcdefgh.1%0a",
    ]) {
      const { status, json } = await owner.ask("GET", `/api/v1/sessions/wrong/events?after=${after}`);
      expect([after, status, json.error.code, json.error.details]).toEqual([
        after,
        400,
        "INVALID_REQUEST",
        { kind: "cursor", path: "after" },
      ]);
    }
    for (const query of ["catch_up=x", "page=1", "after=abcdefgh.1&afte=1"]) {
      const { status } = await owner.ask("GET", `/api/v1/sessions/wrong/events?${query}`);
      expect([query, status === 400 || status === 422]).toEqual([query, true]);
    }
    expect((await owner.ask("GET", "/api/v1/sessions/nowhere/events")).status).toBe(404);
    expect(
      (
        await fetch(`${stack.gateway.url}/api/v1/sessions/wrong/events`, {
          method: "HEAD",
          headers: owner.bearer,
        })
      ).status,
    ).toBe(405);
  });

  test("of another epoch, or ahead of the log: session.reset with the reason and a snapshot", async () => {
    const { epoch } = await filled("reset", 3);
    for (const [cursor, reason] of [
      ["zzzzzzzz.2", "epoch"],
      [`${epoch}.5`, "ahead"],
      [`${epoch}.9007199254740991`, "ahead"],
    ] as const) {
      for (const header of [undefined, cursor]) {
        const [first, synced, ...more] = await caughtUp(
          "reset",
          header === undefined ? `after=${cursor}` : "",
          header,
        );
        expect([first?.event, first?.id, synced?.event, more]).toEqual([
          "session.reset",
          `${epoch}.4`,
          "session.synced",
          [],
        ]);
        expect(frameOf(first).payload).toMatchObject({
          reason,
          head: 4,
          snapshot: { session: { head: 4, epoch } },
        });
      }
    }
  });

  test("too far back: a snapshot that says so, unless the log is asked for", async () => {
    const { epoch, raw } = await filled("far", 30);
    const [first, synced] = await caughtUp("far", `after=${epoch}.10`);
    expect([first?.event, first?.id, frameOf(first).payload.reason, synced?.event]).toEqual([
      "session.snapshot",
      `${epoch}.31`,
      "far",
      "session.synced",
    ]);
    const [resumed, ...events] = await caughtUp("far", `after=${epoch}.10&catch_up=log`);
    expect([resumed?.event, events.slice(0, -1).map(({ data }) => data)]).toEqual([
      "session.resumed",
      raw.slice(10),
    ]);
    const [near] = await caughtUp("far", `after=${epoch}.11`);
    expect(near?.event).toBe("session.resumed");
  });
});
