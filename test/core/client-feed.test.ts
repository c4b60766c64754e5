import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import type { Client, ClientSession, SessionEvent } from "../../src/package/client.ts";
import { createClient } from "../../src/package/client.ts";
import type { EventMessage, Message, Snapshot } from "../../src/protocol/entities.ts";
import type { StubGateway, StubRequest } from "../support/stub-gateway.ts";
import { startStub, until } from "../support/stub-gateway.ts";

let stub: StubGateway;
let client: Client;
let session: ClientSession;
/** The log behind the stub: what is before the floor is in its snapshots alone. */
let log: { epoch: string; floor: number; events: { event: string; payload: Record<string, unknown> }[] };

beforeEach(async () => {
  stub = startStub();
  log = { epoch: "aaaaaaaa", floor: 0, events: [] };
  stub.answers["session.subscribe"] = subscribe;
  stub.answers["session.unsubscribe"] = ({ ok }) => ok({ unsubscribed: true });
  client = createClient({ url: stub.url, random: () => 0, transport: "websocket" });
  await client.connect();
  session = client.session("s1");
});
afterEach(async () => {
  client.disconnect();
  await stub.stop();
});

function subscribe(request: StubRequest): void {
  const { peer, params, ok } = request;
  const { after, epoch, catch_up } = params as { after?: number; epoch?: string; catch_up?: string };
  const head = log.events.length;
  const other = epoch !== undefined && epoch !== log.epoch;
  const far = catch_up !== "log" && after !== undefined && head - after > 1_500;
  if (after === undefined || other || far || after < log.floor) {
    const reason = after === undefined ? {} : { reason: other ? "epoch" : far ? "far" : "trimmed" };
    ok({
      mode: other ? "reset" : "snapshot",
      ...reason,
      epoch: log.epoch,
      from: head,
      head,
      snapshot: snapshot(),
    });
  } else {
    ok({ mode: "resume", epoch: log.epoch, from: after, head });
    for (let seq = after + 1; seq <= head; seq++) send(peer, seq);
  }
  peer.event("session.synced", { session_id: "s1" }, { epoch: log.epoch, at: head });
}

function send(peer: StubRequest["peer"] | undefined, seq: number): void {
  const { event, payload } = log.events[seq - 1]!;
  peer?.event(event, { session_id: "s1", epoch: log.epoch, seq, run_id: "run_1" }, payload);
}

/** What the log comes to. */
function snapshot(): Snapshot {
  const messages = log.events.flatMap(({ event, payload }, i): Message[] =>
    event === "message.created"
      ? [{ session_id: "s1", seq: i + 1, ...(payload["message"] as EventMessage) }]
      : [],
  );
  const head = log.events.length;
  return {
    session: { session_id: "s1", title: log.epoch, epoch: log.epoch, head } as Snapshot["session"],
    messages,
    runs: [],
    approvals: [],
    has_more: false,
  };
}

/** One more event of the log, told to the newest socket. */
function append(event: string, payload: Record<string, unknown>, quietly = false): void {
  log.events.push({ event, payload });
  if (!quietly) send(stub.peers.at(-1), log.events.length);
}

function say(content: string, quietly = false): void {
  const message = { message_id: `m${log.events.length + 1}`, role: "user", status: "complete", content };
  append("message.created", { message: { ...message, timestamp: 1, metadata: {} } }, quietly);
}

const contents = (): string[] => session.state.getSnapshot().messages.map(({ content }) => content);
const live = (): Promise<unknown> => session.state.until(({ status }) => status === "live");

describe("a state", () => {
  test("is replaced by a reset, and by the snapshot of somebody who was away for long", async () => {
    session.state.subscribe(() => undefined);
    say("one");
    await live();
    log = { epoch: "bbbbbbbb", floor: 0, events: [] };
    say("another one", true);
    stub.peers.at(-1)?.drop();
    await until("the reset", () => contents().join() === "another one");
    expect(session.state.getSnapshot().session?.title).toBe("bbbbbbbb");
    await live();
    say("two", true);
    say("three", true);
    log.floor = 3;
    stub.peers.at(-1)?.drop();
    await until("the snapshot", () => contents().join() === "another one,two,three");
  });

  test("is read anew where what comes does not continue it", async () => {
    session.state.subscribe(() => undefined);
    say("one");
    await live();
    append("message.delta", { message_id: "never started", part: 0, kind: "text", off: 4, text: "lost" });
    say("two");
    await until("the snapshot", () => contents().join() === "one,two");
    expect(stub.peers[0]?.requests.filter(({ method }) => method === "session.subscribe").length).toBe(2);
  });

  test("of a view that fails keeps nothing from who reads the events", async () => {
    const later: (() => void)[] = [];
    const real = globalThis.setTimeout;
    globalThis.setTimeout = ((run: () => void, ms?: number) =>
      ms === undefined ? void later.push(run) : real(run, ms)) as typeof setTimeout;
    try {
      const seen: string[] = [];
      const leave = session.state.subscribe(() => {
        throw new Error("the view fails");
      });
      session.state.subscribe(() => void seen.push(session.state.getSnapshot().status));
      const events = session.events();
      expect((await events.next()).value?.event).toBe("session.snapshot");
      say("one");
      expect((await events.next()).value?.event).toBe("message.created");
      expect(seen).toContain("live");
      leave();
    } finally {
      globalThis.setTimeout = real;
    }
    expect(later.length).toBeGreaterThan(0);
    expect(later[0]).toThrow("the view fails");
  });

  test("is not told step by step how it catches up", async () => {
    session.state.subscribe(() => undefined);
    await live();
    for (let i = 1; i <= 200; i++) say(String(i), true);
    let told = 0;
    session.state.subscribe(() => void told++);
    stub.peers.at(-1)?.drop();
    await until("all of it", () => contents().length === 200);
    await live();
    expect(told).toBeLessThan(10);
  });

  test("is left when nobody listens, and goes on from its cursor when somebody does again", async () => {
    const leave = session.state.subscribe(() => undefined);
    say("one");
    await live();
    const asked = (method: string) => stub.peers[0]?.requests.filter((each) => each.method === method) ?? [];
    // At once again, as a view that is drawn anew: it is still there.
    leave();
    const leaveAgain = session.state.subscribe(() => undefined);
    leaveAgain();
    await until("left", () => asked("session.unsubscribe").length === 1);
    expect(asked("session.subscribe")).toHaveLength(1);
    expect(session.state.getSnapshot().status).toBe("idle");
    say("two", true);
    session.state.subscribe(() => undefined);
    await until("two", () => contents().join() === "one,two");
    expect(asked("session.subscribe")[1]?.params).toMatchObject({ epoch: "aaaaaaaa", after: 1 });
  });
});

async function read(
  count: number,
  options: Parameters<ClientSession["events"]>[0] = {},
): Promise<SessionEvent[]> {
  const seen: SessionEvent[] = [];
  for await (const event of session.events(options)) if (seen.push(event) === count) break;
  return seen;
}
const names = (seen: SessionEvent[]) => seen.map(({ event, seq }) => `${event} ${seq}`);

describe("a reader", () => {
  test("of a place that is gone begins with a snapshot that says why", async () => {
    for (const text of ["one", "two", "three"]) say(text, true);
    log.floor = 2;
    const reading = read(2, { after: { epoch: "aaaaaaaa", seq: 1 } });
    await live();
    say("four");
    const seen = await reading;
    expect(names(seen)).toEqual(["session.snapshot 3", "message.created 4"]);
    expect(seen[0]?.payload).toMatchObject({ reason: "trimmed", head: 3 });
  });

  test("of another log is reset", async () => {
    say("one", true);
    const seen = await read(1, { after: { epoch: "zzzzzzzz", seq: 9 } });
    expect(names(seen)).toEqual(["session.reset 1"]);
  });

  test("that is far behind has every event where it wants them, else a snapshot", async () => {
    for (let i = 1; i <= 2_000; i++) say(String(i), true);
    const after = { epoch: "aaaaaaaa", seq: 0 };
    expect(names(await read(1, { after }))).toEqual(["session.snapshot 2000"]);
    const all = await read(2_000, { after, catch_up: "log" });
    expect(all.map(({ seq }) => seq)).toEqual(Array.from({ length: 2_000 }, (_, i) => i + 1));
  });

  test("that is slower than the events has them later, each once, and holds a thousand at most", async () => {
    const seen: number[] = [];
    const events = session.events({ catch_up: "log" });
    await events.next();
    for (let i = 1; i <= 1_400; i++) say(String(i));
    await session.state.until(({ cursor }) => cursor?.seq === 1_400);
    while (seen.length < 1_400) seen.push((await events.next()).value!.seq);
    expect(seen).toEqual(Array.from({ length: 1_400 }, (_, i) => i + 1));
    await events.return();
    const asked = stub.peers[0]?.requests.filter(({ method }) => method === "session.subscribe") ?? [];
    expect(asked.map(({ params }) => params["after"])).toEqual([undefined, 1_000]);
  });

  test("of a run that has ended long ago ends with the snapshot", async () => {
    for (const text of ["one", "two"]) say(text, true);
    log.floor = 2;
    const seen: string[] = [];
    for await (const { event } of session.events({ after: { epoch: "aaaaaaaa", seq: 0 }, until: "run_0" }))
      seen.push(event);
    expect(seen).toEqual(["session.snapshot"]);
  });
});
