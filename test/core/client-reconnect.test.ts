import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { createClient } from "../../src/client/client.ts";
import type { Client } from "../../src/client/client.ts";
import type { ClientState } from "../../src/client/connection.ts";
import type { ClientOptions } from "../../src/client/options.ts";
import { ClientError } from "../../src/client/error.ts";
import { backoffMs, comesBack, createReconnect } from "../../src/client/reconnect.ts";
import { RECONNECT_CLOSE_CODES } from "../../src/protocol/errors.ts";
import type { StubGateway } from "../support/stub-gateway.ts";
import { startStub, until } from "../support/stub-gateway.ts";

let stub: StubGateway;
let clients: Client[] = [];

beforeEach(() => {
  stub = startStub();
});
afterEach(async () => {
  for (const client of clients) client.disconnect();
  clients = [];
  await stub.stop();
});

function make(options: Partial<ClientOptions> = {}): Client {
  const client = createClient({ url: stub.url, random: () => 0, ...options });
  clients.push(client);
  return client;
}

async function failure(promise: Promise<unknown>): Promise<ClientError> {
  const error = await promise.then(
    () => new Error("it succeeded"),
    (reason: unknown) => reason,
  );
  if (!(error instanceof ClientError)) throw error;
  return error;
}

describe("coming back", () => {
  test("by exactly the close codes of the protocol", () => {
    for (let code = 1000; code < 5000; code++) {
      expect(comesBack(code), String(code)).toBe(RECONNECT_CLOSE_CODES.has(code));
    }
  });

  test("after a drop, a restart and an overload; not after a refusal", async () => {
    const client = make();
    const states: ClientState["state"][] = [];
    client.on("state", ({ state }) => states.push(state));
    await client.connect();
    stub.peers[0]?.drop();
    await until("second connection", () => client.state === "connected" && stub.peers.length === 2);
    stub.peers[1]?.close(4030);
    await until("third connection", () => client.state === "connected" && stub.peers.length === 3);
    stub.peers[2]?.close(4003, "disconnected by an administrator");
    await until("the end", () => client.state === "closed");
    expect(states).toEqual([
      "connecting",
      "connected",
      "reconnecting",
      "connected",
      "reconnecting",
      "connected",
      "closed",
    ]);
    expect(stub.peers.length).toBe(3);
  });

  test("through refused upgrades, until one is let in", async () => {
    const client = make();
    let attempts = 0;
    await client.connect();
    client.on("state", ({ state }) => {
      if (state === "reconnecting" && ++attempts === 4) stub.refusing = false;
    });
    stub.refusing = true;
    stub.peers[0]?.drop();
    await until("connected again", () => client.state === "connected" && stub.peers.length === 2);
    expect(attempts).toBe(4);
  });

  const policy = { delay_ms: 5_000, max_attempts: 0, random: () => 1 };

  test("the wait: full jitter, at most 30 s", () => {
    const longest = [0, 1, 2, 3, 20, 1_000].map((attempt) => backoffMs(attempt, 5_000, () => 1));
    expect(longest).toEqual([5_000, 10_000, 20_000, 30_000, 30_000, 30_000]);
    expect(backoffMs(9, 5_000, () => 0)).toBe(0);
  });

  test("quick twice after an open connection was lost, and not before there was one", () => {
    const reconnect = createReconnect(policy);
    expect([reconnect.next(0), reconnect.next(0)]).toEqual([5_000, 10_000]);
    reconnect.connected(0);
    reconnect.lost(2_000, false);
    const waits = [1, 2, 3, 4, 5, 6].map(() => reconnect.next(2_000));
    expect(waits).toEqual([250, 250, 5_000, 10_000, 20_000, 30_000]);
  });

  test("an end after so many attempts, counted anew by a success and by a network that is back", () => {
    const reconnect = createReconnect({ ...policy, max_attempts: 3 });
    const all = (): (number | null)[] => [1, 2, 3, 4].map(() => reconnect.next(100_000));
    expect(all()).toEqual([5_000, 10_000, 20_000, null]);
    reconnect.renew();
    expect(all()).toEqual([5_000, 10_000, 20_000, null]);
    reconnect.connected(0);
    reconnect.lost(100_000, false);
    expect(all()).toEqual([250, 250, 5_000, null]);
    reconnect.connected(100_000);
    reconnect.lost(100_000, true);
    expect(all()).not.toContain(null);
  });

  test("after a restart: every 250 to 750 ms for 30 s, then the usual wait", () => {
    for (const [random, wait] of [
      [0, 250],
      [1, 750],
    ] as const) {
      const reconnect = createReconnect({ ...policy, random: () => random });
      reconnect.connected(0);
      reconnect.lost(5_000, true);
      expect(reconnect.next(5_000)).toBe(wait);
      reconnect.lost(34_000, false);
      expect(reconnect.next(34_999)).toBe(wait);
      expect(reconnect.next(35_000)).toBe(250 * random);
    }
  });

  test("connections that break at once are accidents, until there were many", () => {
    const reconnect = createReconnect(policy);
    const waits = Array.from({ length: 13 }, (_, i) => {
      reconnect.connected(0);
      reconnect.lost(i < 12 ? 10 : 1_000, false);
      return reconnect.next(0);
    });
    expect(waits).toEqual([...Array.from({ length: 9 }, () => 250), 5_000, 10_000, 20_000, 250]);
  });

  test("only so often, and then it says so; not at all where it is not wanted", async () => {
    const client = make({ max_reconnect_attempts: 3 });
    const states: ClientState["state"][] = [];
    client.on("state", ({ state }) => states.push(state));
    await client.connect();
    stub.refusing = true;
    stub.peers[0]?.drop();
    const waiting = failure(client.request("chat.send", { message: "hi", idempotency_key: "k" }));
    expect((await waiting).code).toBe("UNREACHABLE");
    expect(states.filter((state) => state === "reconnecting")).toHaveLength(3);
    expect(client.state).toBe("closed");
    stub.refusing = false;
    await client.connect();
    const once = make({ auto_reconnect: false });
    await once.connect();
    stub.peers.at(-1)?.drop();
    await until("the end", () => once.state === "closed");
  });

  test("the first time, too, where connect() is told to; its signal ends that", async () => {
    stub.refusing = true;
    const client = make({ transport: "websocket" });
    const connecting = client.connect({ retry: true });
    let attempts = 0;
    client.on("state", () => {
      if (++attempts === 5) stub.refusing = false;
    });
    await connecting;
    expect(attempts).toBeGreaterThanOrEqual(5);
    stub.refusing = true;
    const late = make({ transport: "websocket" });
    const controller = new AbortController();
    const stopped = failure(late.connect({ retry: true, signal: controller.signal }));
    late.on("state", () => controller.abort());
    expect((await stopped).code).toBe("ABORTED");
    expect(late.state).toBe("closed");
    expect((await failure(make().connect({ signal: AbortSignal.abort() }))).code).toBe("ABORTED");
  });

  test("not before the gateway says it may", async () => {
    const client = make();
    await client.connect();
    stub.answers["connect"] = ({ fail }) =>
      fail({ code: "UNAVAILABLE", retryable: true, retry_after_ms: 9_000 });
    const waits: (number | undefined)[] = [];
    client.on("state", ({ retry_in_ms }) => waits.push(retry_in_ms));
    stub.peers[0]?.drop();
    await until("refused", () => waits.includes(9_000));
  });

  test("disconnect is final and fails what was not answered", async () => {
    const client = make();
    await client.connect();
    const open = failure(client.request("session.list", {}));
    client.disconnect();
    expect((await open).code).toBe("ABORTED");
    expect(client.state).toBe("closed");
    expect((await failure(client.request("system.info", {}))).code).toBe("ABORTED");
  });
});
