import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { createClient } from "../../src/client/client.ts";
import type { Client } from "../../src/client/client.ts";
import type { ClientOptions } from "../../src/client/options.ts";
import { ClientError, TimeoutError } from "../../src/client/error.ts";
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

  test("what a gateway that stops refuses is sent to the next one where it carries a key", async () => {
    const client = make();
    await client.connect();
    const details = { kind: "draining" };
    stub.answers["chat.send"] = ({ fail }) => fail({ code: "UNAVAILABLE", message: "stopping", details });
    const keyed = client.request("chat.send", { message: "hi", idempotency_key: "k1" });
    const bare = failure(client.request("chat.send", { message: "hi" }));
    expect(await bare).toMatchObject({ code: "UNAVAILABLE", details });
    stub.answers["chat.send"] = ({ ok, params }) => ok(params);
    stub.peers[0]?.drop();
    expect((await keyed) as unknown).toEqual({ message: "hi", idempotency_key: "k1" });
    expect(stub.peers[0]?.requests.filter(({ method }) => method === "chat.send").length).toBe(2);
  });

  test("what a gateway that stops refuses is sent again where the connection stays, too", async () => {
    const client = make();
    await client.connect();
    const refusal = { code: "UNAVAILABLE", details: { kind: "draining" }, retry_after_ms: 5 };
    let refused = 0;
    stub.answers["chat.send"] = ({ ok, fail, params }) => (++refused <= 3 ? fail(refusal) : ok(params));
    const keyed = ["k1", "k2"].map((idempotency_key) =>
      client.request("chat.send", { message: "hi", idempotency_key }),
    );
    expect(
      (await Promise.all(keyed)).map(
        (answer) => (answer as unknown as { idempotency_key: string }).idempotency_key,
      ),
    ).toEqual(["k1", "k2"]);
    expect([stub.peers.length, refused]).toEqual([1, 5]);
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
