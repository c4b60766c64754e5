import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { createClient } from "../../src/client/client.ts";
import type { Client } from "../../src/client/client.ts";
import type { ClientError } from "../../src/client/error.ts";
import type { Opening } from "../../src/client/methods.ts";
import type { Subscription } from "../../src/client/subscription.ts";
import type { StubGateway, StubPeer, StubRequest } from "../support/stub-gateway.ts";
import { startStub, until } from "../support/stub-gateway.ts";

/** A reader's record of one subscription. */
interface Seen {
  readonly subscription: Subscription;
  readonly openings: Opening[];
  /** `epoch.seq` of every event, since the last opening that replaced all. */
  readonly events: string[];
  synced: number;
  error: ClientError | null;
}

let stub: StubGateway;
let client: Client;
/** The log behind the stub. */
let log: { epoch: string; floor: number; head: number };

beforeEach(async () => {
  stub = startStub();
  log = { epoch: "aaaaaaaa", floor: 0, head: 0 };
  stub.answers["session.subscribe"] = subscribe;
  client = createClient({ url: stub.url, random: () => 0 });
  await client.connect();
});
afterEach(async () => {
  client.disconnect();
  await stub.stop();
});

function subscribe({ peer, params, ok }: StubRequest): void {
  const { after, epoch } = params as { after?: number; epoch?: string };
  const other = epoch !== undefined && epoch !== log.epoch;
  if (after === undefined || other || after < log.floor || after > log.head) {
    const session = { session_id: params["session_id"] };
    const snapshot = { session, messages: [], runs: [], approvals: [], has_more: false };
    const mode = other || (after ?? 0) > log.head ? "reset" : "snapshot";
    ok({ mode, epoch: log.epoch, from: log.head, head: log.head, snapshot });
  } else {
    ok({ mode: "resume", epoch: log.epoch, from: after, head: log.head });
    for (let seq = after + 1; seq <= log.head; seq++) send(peer, seq);
  }
  peer.event("session.synced", { session_id: params["session_id"] }, { epoch: log.epoch, at: log.head });
}

function send(peer: StubPeer | undefined, seq: number, epoch = log.epoch): void {
  peer?.event("app.tick", { session_id: "s1", epoch, seq }, {});
}

/** One more event, sent to the newest socket. */
function append(): void {
  send(stub.peers.at(-1), ++log.head);
}

function follow(options: Parameters<Client["subscribe"]>[1] = {}, session_id = "s1"): Seen {
  const seen: Omit<Seen, "subscription"> = { openings: [], events: [], synced: 0, error: null };
  const subscription = client.subscribe(session_id, options, {
    opened(opening) {
      seen.openings.push(opening);
      if (opening.mode !== "resume") seen.events.length = 0;
    },
    event: ({ epoch, seq }) => void seen.events.push(`${epoch}.${seq}`),
    synced: () => void seen.synced++,
    ended: (error) => void (seen.error = error),
  });
  return Object.assign(seen, { subscription });
}

function requests(method = "session.subscribe"): Record<string, unknown>[] {
  return stub.peers.flatMap((peer) =>
    peer.requests.filter((each) => each.method === method).map((each) => each.params),
  );
}

function upTo(head: number, from = 1): string[] {
  return Array.from({ length: head - from + 1 }, (_, i) => `${log.epoch}.${from + i}`);
}

const at = (seen: Seen, seq: number) => () => seen.subscription.cursor?.seq === seq;

describe("a subscription", () => {
  test("starts from a snapshot, then has every event once", async () => {
    log.head = 7;
    const seen = follow();
    await until("synced", () => seen.synced === 1);
    expect(seen.openings.map(({ mode, from }) => [mode, from])).toEqual([["snapshot", 7]]);
    append();
    append();
    send(stub.peers[0], 8);
    append();
    await until("the tenth", at(seen, 10));
    expect(seen.events).toEqual(upTo(10, 8));
    expect(requests()).toEqual([{ session_id: "s1" }]);
  });

  test("starts where it is told: from the beginning, or from a cursor", async () => {
    log.head = 3;
    const all = follow({ after: 0, catch_up: "log" });
    await until("the third", at(all, 3));
    expect(all.events).toEqual(upTo(3));
    all.subscription.unsubscribe();
    const rest = follow({ epoch: log.epoch, after: 2 });
    await until("the third again", at(rest, 3));
    expect(rest.events).toEqual(upTo(3, 3));
    expect(requests()).toEqual([
      { session_id: "s1", after: 0, catch_up: "log" },
      { session_id: "s1", epoch: "aaaaaaaa", after: 2 },
    ]);
  });

  test("a connection lost after every event loses and doubles none", async () => {
    const seen = follow({ after: 0 });
    await until("synced", () => seen.synced === 1);
    for (let drops = 1; drops <= 12; drops++) {
      append();
      await until(`event ${log.head}`, at(seen, log.head));
      stub.peers.at(-1)?.drop();
      // What comes while nobody is connected.
      if (drops % 3 !== 0) log.head++;
      await until(`synced after ${drops}`, () => seen.synced === drops + 1);
    }
    expect(seen.events).toEqual(upTo(log.head));
    expect(seen.openings.every(({ mode }) => mode === "resume")).toBe(true);
  });

  test("a gap is asked for again from the last event; what comes before the answer is ignored", async () => {
    const seen = follow({ after: 0 });
    await until("synced", () => seen.synced === 1);
    append();
    log.head = 4;
    stub.answers["session.subscribe"] = (request) => {
      send(request.peer, 2);
      send(request.peer, 5);
      subscribe(request);
    };
    send(stub.peers[0], 4);
    await until("the fourth", at(seen, 4));
    expect(seen.events).toEqual(upTo(4));
    expect(requests()[1]).toEqual({ session_id: "s1", epoch: "aaaaaaaa", after: 1 });
  });

  test("another epoch replaces everything", async () => {
    const seen = follow({ after: 0 });
    append();
    await until("the first", at(seen, 1));
    log = { epoch: "bbbbbbbb", floor: 0, head: 5 };
    send(stub.peers[0], 2);
    await until("the reset", () => seen.openings.length === 2);
    append();
    await until("the sixth", at(seen, 6));
    expect(seen.openings[1]?.mode).toBe("reset");
    expect(seen.events).toEqual(["bbbbbbbb.6"]);
  });

  test.each(["trimmed", "far", "epoch", "limit"])(
    "ended by the gateway (%s), it opens again",
    async (reason) => {
      const seen = follow();
      await until("synced", () => seen.synced === 1);
      stub.peers[0]?.event("session.unsubscribed", { session_id: "s1" }, { session_id: "s1", reason });
      await until("synced again", () => seen.synced === 2);
      expect(seen.error).toBeNull();
    },
  );

  test.each([
    ["revoked", "FORBIDDEN"],
    ["deleted", "GONE"],
  ])("ended by the gateway (%s), it is over", async (reason, code) => {
    const seen = follow();
    await until("synced", () => seen.synced === 1);
    stub.peers[0]?.event("session.unsubscribed", { session_id: "s1" }, { session_id: "s1", reason });
    await until("the end", () => seen.error !== null);
    expect(seen.error?.code as string).toBe(code);
    expect(requests().length).toBe(1);
  });

  test("a refusal ends it; a retryable one is asked again", async () => {
    let answers = 0;
    stub.answers["session.subscribe"] = (request) => {
      if (++answers < 3) request.fail({ code: "UNAVAILABLE", retryable: true, retry_after_ms: 1 });
      else subscribe(request);
    };
    const late = follow();
    await until("synced", () => late.synced === 1);
    late.subscription.unsubscribe();
    stub.answers["session.subscribe"] = ({ fail }) => fail({ code: "NOT_FOUND" });
    const refused = follow();
    await until("the end", () => refused.error !== null);
    expect(refused.error?.code).toBe("NOT_FOUND");
    expect(requests().length).toBe(4);
  });

  test("two heartbeats above a cursor that stands still open it again; a moving one is left alone", async () => {
    const seen = follow();
    await until("synced", () => seen.synced === 1);
    const beat = (head: number) =>
      stub.peers[0]?.event("heartbeat", {}, { ts: 1, heads: { s1: [log.epoch, head] } });
    beat(1);
    append();
    beat(2);
    append();
    beat(2);
    beat(2);
    await until("the second", at(seen, 2));
    expect(requests().length).toBe(1);
    log.head = 3;
    beat(3);
    beat(3);
    await until("the third", at(seen, 3));
    expect(requests().length).toBe(2);
  });

  test("known by a gateway id, it hears the frames that carry the owner's name", async () => {
    stub.answers["session.get"] = ({ ok }) => ok({ session_id: "s1" });
    log.head = 2;
    const seen = follow({ epoch: log.epoch, after: 0 }, "ses_1");
    await until("the second", at(seen, 2));
    expect(requests("session.get")).toEqual([{ session_id: "ses_1" }]);
  });

  test("starts over from a snapshot when it is told to", async () => {
    const seen = follow({ after: 0 });
    append();
    await until("the first", at(seen, 1));
    seen.subscription.refresh();
    await until("the snapshot", () => seen.openings.length === 2);
    expect(requests()[1]).toEqual({ session_id: "s1" });
  });

  test("ends with the client, and nothing comes after unsubscribe", async () => {
    const left = follow();
    await until("synced", () => left.synced === 1);
    expect(() => follow()).toThrow("followed already");
    left.subscription.unsubscribe();
    append();
    await until("told the gateway", () => requests("session.unsubscribe").length === 1);
    expect(left.events).toEqual([]);
    const other = follow();
    await until("synced again", () => other.synced === 1);
    stub.peers[0]?.close(4001, "revoked");
    await until("the end", () => other.error !== null);
    expect(other.error?.code).toBe("UNAUTHORIZED");
  });
});
