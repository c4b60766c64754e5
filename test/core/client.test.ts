import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { createClient } from "../../src/client/client.ts";
import type { Client } from "../../src/client/client.ts";
import type { ClientState } from "../../src/client/connection.ts";
import type { ClientOptions } from "../../src/client/options.ts";
import { ClientError, TimeoutError } from "../../src/client/error.ts";
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

describe("connecting", () => {
  test("greets with what it was given and nothing else", async () => {
    const client = make({ auth_token: "agb_secret", client_id: "c1", client_name: "Test" });
    const hello = await client.connect();
    expect(hello.auth_info.user).toBe("owner");
    expect(client.state).toBe("connected");
    const [greeting] = stub.peers[0]?.requests ?? [];
    expect(greeting?.method).toBe("connect");
    expect(greeting?.params).toEqual({
      client_id: "c1",
      client_name: "Test",
      auth_token: "agb_secret",
      protocol: { min: 1, max: 1 },
    });
  });

  test("a refusal is the gateway's own error, and it does not come back", async () => {
    stub.answers["connect"] = ({ fail, peer }) => {
      fail({ code: "UNAUTHORIZED", message: "unknown token" });
      peer.close(4001);
    };
    const client = make();
    const error = await failure(client.connect());
    expect([error.code, error.message]).toEqual(["UNAUTHORIZED", "unknown token"]);
    expect(client.state).toBe("closed");
  });

  test("a refusal ends it even where the gateway forgets to close", async () => {
    stub.answers["connect"] = ({ fail }) => fail({ code: "FORBIDDEN" });
    expect((await failure(make().connect())).code).toBe("FORBIDDEN");
  });

  test("UNREACHABLE where nothing listens, and it can be tried again", async () => {
    stub.refusing = true;
    const client = make();
    expect((await failure(client.connect())).code).toBe("UNREACHABLE");
    stub.refusing = false;
    await client.connect();
    expect(client.state).toBe("connected");
  });

  test("UNREACHABLE where something listens and says nothing", async () => {
    delete stub.answers["connect"];
    const error = await failure(make({ connect_timeout_ms: 20 }).connect());
    expect(error.code).toBe("UNREACHABLE");
    expect(error.message).toContain("no answer within");
  });

  test("takes no credential in the URL", () => {
    expect(() => make({ url: "http://me:secret@127.0.0.1/" })).toThrow("credential");
  });
});

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

describe("requests", () => {
  test("answers find their request in any order", async () => {
    const held: { ok(payload: unknown): void; params: Record<string, unknown> }[] = [];
    stub.answers["app.echo"] = (request) => {
      held.push(request);
      if (held.length === 3) for (const each of held.toReversed()) each.ok(each.params);
    };
    const client = make();
    await client.connect();
    const answers = await Promise.all([1, 2, 3].map((n) => client.request("app.echo", { n })));
    expect(answers).toEqual([{ n: 1 }, { n: 2 }, { n: 3 }]);
  });

  test("an error carries code, details and when to come again", async () => {
    stub.answers["app.no"] = ({ fail }) =>
      fail({
        code: "RATE_LIMITED",
        message: "slow down",
        retryable: true,
        retry_after_ms: 7,
        details: { kind: "rate" },
      });
    const client = make();
    await client.connect();
    const error = await failure(client.request("app.no", {}));
    expect({ ...error }).toMatchObject({
      code: "RATE_LIMITED",
      retryable: true,
      retry_after_ms: 7,
      details: { kind: "rate" },
    });
  });

  test("never more in flight than the gateway takes; abort and heartbeat pass", async () => {
    const client = make();
    await client.connect();
    const answers = Array.from({ length: 40 }, (_, n) => client.request("app.work", { n }));
    const abort = failure(client.request("chat.abort", { session_id: "s" }));
    const peer = stub.peers[0];
    const seen = (method: string) => peer?.requests.filter((request) => request.method === method) ?? [];
    await until("the abort passed", () => seen("chat.abort").length === 1);
    expect(seen("app.work").length).toBe(16);
    for (let next = 0; next < 40; next++) {
      await until(`request ${next}`, () => seen("app.work").length > next);
      expect(seen("app.work").length).toBeLessThanOrEqual(next + 16);
      seen("app.work")[next]?.ok({ next });
    }
    expect(await Promise.all(answers)).toEqual(Array.from({ length: 40 }, (_, next) => ({ next })));
    seen("chat.abort")[0]?.fail({ code: "NOT_FOUND" });
    expect((await abort).code).toBe("NOT_FOUND");
  });

  test("a lost connection: with a key it is sent again, without one its outcome is open", async () => {
    const client = make();
    await client.connect();
    const keyed = client.request("chat.send", { message: "hi", idempotency_key: "k1" });
    const bare = failure(client.request("chat.send", { message: "hi" }));
    await until("both arrived", () => stub.peers[0]?.requests.length === 3);
    stub.answers["chat.send"] = ({ ok, params }) => ok(params);
    stub.peers[0]?.drop();
    expect((await bare).code).toBe("CLOSED");
    expect((await keyed) as unknown).toEqual({ message: "hi", idempotency_key: "k1" });
    const again = stub.peers[1]?.requests.filter(({ method }) => method === "chat.send");
    expect(again?.length).toBe(1);
  });

  test("what is asked while there is no connection waits for the next one", async () => {
    stub.answers["app.echo"] = ({ ok, params }) => ok(params);
    const client = make();
    await client.connect();
    const asked = new Promise((resolve) => {
      client.on("state", ({ state }) => {
        if (state === "reconnecting") resolve(client.request("app.echo", { n: 1 }));
      });
    });
    stub.peers[0]?.drop();
    expect(await asked).toEqual({ n: 1 });
    expect(stub.peers.length).toBe(2);
  });

  test("a signal and a deadline stop the wait", async () => {
    const client = make();
    await client.connect();
    const controller = new AbortController();
    const aborted = failure(client.request("app.hang", {}, { signal: controller.signal }));
    controller.abort();
    expect((await aborted).code).toBe("ABORTED");
    expect((await failure(client.request("app.hang", {}, { timeout_ms: 5 }))).code).toBe("TIMEOUT");
    const hasty = make({ request_timeout: 0.005 });
    await hasty.connect();
    const late = await failure(hasty.request("app.hang", {}));
    expect([late.code, late.message]).toEqual(["TIMEOUT", "app.hang was not answered within 0.005 s"]);
    expect(late).toBeInstanceOf(TimeoutError);
    stub.answers["run.wait"] = ({ ok }) => setTimeout(() => ok({ status: "running" }), 30);
    // What waits by itself has that long, and the answer its own time.
    expect(await hasty.request("run.wait", { run_id: "r", timeout_ms: 60_000 })).toEqual({
      status: "running",
    } as never);
  });
});
