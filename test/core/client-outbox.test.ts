import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import type { Client, ClientSession, KeptMessage, OutboxStorage } from "../../src/package/client.ts";
import { createClient } from "../../src/package/client.ts";
import type { StubGateway } from "../support/stub-gateway.ts";
import { startStub, until } from "../support/stub-gateway.ts";

const HOUR_MS = 3_600_000;
const TAKEN = {
  session_id: "s1",
  message_id: "msg_1",
  run_id: "run_1",
  status: "started",
  epoch: "aaaaaaaa",
  seq: 2,
};

let stub: StubGateway;
let clients: Client[] = [];
/** What outlives a client, by user. */
let kept: Map<string, Map<string, KeptMessage>>;

beforeEach(() => {
  stub = startStub();
  kept = new Map();
});
afterEach(async () => {
  for (const client of clients) client.disconnect();
  clients = [];
  await stub.stop();
});

function storage(user: string): OutboxStorage {
  const own = kept.get(user) ?? new Map<string, KeptMessage>();
  kept.set(user, own);
  return {
    load: () => [...own.values()],
    put: (message) => void own.set(message.idempotency_key, structuredClone(message)),
    remove: (key) => void own.delete(key),
  };
}

function life(outbox: (user: string) => OutboxStorage = storage): Client {
  const client = createClient({ url: stub.url, random: () => 0, transport: "websocket", outbox });
  clients.push(client);
  return client;
}

const owners = (): KeptMessage[] => [...(kept.get("owner")?.values() ?? [])];
const sent = () =>
  stub.peers.flatMap(({ requests }) => requests.filter(({ method }) => method === "chat.send"));
const pending = (session: ClientSession) => session.state.getSnapshot().pending;

/** A page that is left before the gateway has answered. */
async function leftBehind(): Promise<void> {
  const client = life();
  await client.connect();
  const gone = [
    client.session("s1").send("first", { on_busy: "steer", attachments: ["att_1"] }),
    client.session("s1").send("second"),
  ].map((each) => each.catch(() => undefined));
  await until("both are kept", () => owners().length === 2);
  // The second one waits for it. What is on its way when a page goes may arrive behind its end.
  await until("the first one has arrived", () => sent().length === 1);
  client.disconnect();
  await Promise.all(gone);
}

describe("a message that was not taken", () => {
  test("is sent by the next life, as it was and in its order, and is kept no more", async () => {
    await leftBehind();
    const before = sent().map(({ params }) => params);
    expect(owners().map(({ message, refused }) => [message, refused])).toEqual([
      ["first", undefined],
      ["second", undefined],
    ]);
    stub.answers["chat.send"] = ({ ok }) => ok(TAKEN);
    await life().connect();
    await until("nothing is kept", () => owners().length === 0);
    const [again, second] = sent().slice(before.length);
    expect(again?.params).toEqual(before[0]);
    expect(again?.params).toMatchObject({ message: "first", on_busy: "steer", attachments: ["att_1"] });
    expect(second?.params["message"]).toBe("second");
    expect(sent()).toHaveLength(before.length + 2);
  });

  test("is shown as on its way while it waits", async () => {
    await leftBehind();
    const client = life();
    await client.connect();
    const session = client.session("s1");
    await until("both", () => pending(session).length === 2);
    expect(pending(session).map(({ message, status, options }) => [message, status, options])).toEqual([
      ["first", "waiting", { on_busy: "steer", attachments: ["att_1"] }],
      ["second", "waiting", {}],
    ]);
  });

  test("is another user's business: theirs are not touched", async () => {
    await leftBehind();
    kept.set("ada", kept.get("owner")!);
    kept.delete("owner");
    const before = sent().length;
    const client = life();
    await client.connect();
    stub.answers["system.info"] = ({ ok }) => ok({});
    await client.request("system.info", {});
    expect([sent().length, kept.get("ada")?.size]).toEqual([before, 2]);
  });

  test("that was refused is shown again and not sent, until somebody does or discards it", async () => {
    stub.answers["chat.send"] = ({ fail }) =>
      fail({ code: "FORBIDDEN", message: "not yours", retryable: false });
    const first = life();
    await first.connect();
    await expect(first.session("s1").send("no")).rejects.toMatchObject({ code: "FORBIDDEN" });
    await until("it is kept as refused", () => owners()[0]?.refused !== undefined);
    const client = life();
    await client.connect();
    const session = client.session("s1");
    await until("it is there", () => pending(session).length === 1);
    expect(pending(session)[0]).toMatchObject({
      status: "failed",
      error: { code: "FORBIDDEN", message: "not yours" },
    });
    expect(sent()).toHaveLength(1);
    session.state.dismiss(owners()[0]!.idempotency_key);
    await until("nothing is kept", () => owners().length === 0);
  });

  test("that is older than the gateway's memory of its key is not sent by itself", async () => {
    await leftBehind();
    const before = sent().length;
    for (const [key, message] of kept.get("owner")!)
      kept.get("owner")!.set(key, { ...message, created_at: Date.now() - 30 * HOUR_MS });
    const client = life();
    await client.connect();
    await until("they are there", () => pending(client.session("s1")).length === 2);
    expect(pending(client.session("s1")).map(({ status }) => status)).toEqual(["failed", "failed"]);
    expect(sent()).toHaveLength(before);
  });

  test("is sent all the same where nothing can be kept", async () => {
    stub.answers["chat.send"] = ({ ok }) => ok(TAKEN);
    const full = (): never => {
      throw new Error("no room");
    };
    const client = life(() => ({ load: full, put: full, remove: full }));
    await client.connect();
    expect(await client.session("s1").send("yes")).toMatchObject({ run_id: "run_1" });
  });
});

test("a session that nobody has is given back, one with a message on its way is not", async () => {
  const client = life();
  await client.connect();
  const refs = Array.from({ length: 50 }, (_, i) => new WeakRef(client.session(`gone-${i}`)));
  client
    .session("kept")
    .send("on its way")
    .catch(() => undefined);
  const left = (): number => refs.filter((ref) => ref.deref() !== undefined).length;
  for (let tries = 0; tries < 50 && left() > 5; tries++) {
    await Bun.sleep(1);
    Bun.gc(true);
  }
  expect(left()).toBeLessThan(6);
  expect(pending(client.session("kept")).map(({ message }) => message)).toEqual(["on its way"]);
});
