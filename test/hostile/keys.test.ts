import { afterAll, beforeAll, expect, test } from "bun:test";
import type { TestSocket } from "../support/ws-client.ts";
import { openSocket } from "../support/ws-client.ts";
import type { Arena } from "./beside.ts";
import { ANY_RATE, crowd, openArena } from "./beside.ts";

/** Idempotency keys in the hands of somebody who means no good: never another effect, never another's answer. */

const KEYS_MAX = 2_000;
const SESSION = "s";

let arena: Arena;
let socket: TestSocket;
beforeAll(async () => {
  arena = await openArena({ config: { limits: { ...ANY_RATE, keys_per_user: KEYS_MAX } } });
  await arena.call("session.create", { session_id: SESSION });
  const headers = { authorization: `Bearer ${arena.gateway.token}` };
  socket = await openSocket(arena.gateway.ws_url, { headers });
});
afterAll(async () => {
  await socket[Symbol.asyncDispose]();
  await arena[Symbol.asyncDispose]();
});

const inject = (content: string, idempotency_key: string) => ({
  session_id: SESSION,
  role: "user",
  content,
  idempotency_key,
});
const total = async (): Promise<number> =>
  (await arena.call("chat.history", { session_id: SESSION, limit: 1 })).total;

test("the same key with anything else is a mismatch, over each transport, and does nothing", () =>
  arena.beside(async () => {
    const first = await socket.request("chat.inject", inject("one", "k"));
    const before = await total();
    const others: [string, object][] = [
      ["chat.inject", inject("two", "k")],
      ["chat.inject", { ...inject("one", "k"), role: "system" }],
      ["chat.inject", { ...inject("one", "k"), metadata: { a: 1 } }],
      ["chat.send", { session_id: SESSION, message: "one", idempotency_key: "k" }],
      ["session.create", { idempotency_key: "k" }],
      ["session.fork", { session_id: SESSION, idempotency_key: "k" }],
      ["event.send", { session_id: SESSION, event: "app.x", payload: {}, idempotency_key: "k" }],
      ["event.broadcast", { event: "app.x", payload: {}, idempotency_key: "k" }],
    ];
    const headers = { authorization: `Bearer ${arena.gateway.token}` };
    for (const [method, params] of others) {
      const refused = { code: "IDEMPOTENCY_MISMATCH", retryable: false };
      await expect(socket.request(method, { ...params })).rejects.toMatchObject(refused);
      const { status, body } = await arena.ask("POST", `/api/v1/rpc/${method}`, { headers, body: params });
      expect([method, status, body.error.code]).toEqual([method, 422, refused.code]);
      const { idempotency_key: _, ...rest } = params as Record<string, unknown>;
      const named = { headers: { ...headers, "idempotency-key": "k" }, body: rest };
      expect((await arena.ask("POST", `/api/v1/rpc/${method}`, named)).status).toBe(422);
      const both = { headers: { ...headers, "idempotency-key": "other" }, body: params };
      expect((await arena.ask("POST", `/api/v1/rpc/${method}`, both)).status).toBe(400);
    }
    expect(await socket.request("chat.inject", inject("one", "k"))).toEqual(first);
    expect(await total()).toBe(before);
  }));

test("a key is its user's own: another's answer is not to be had by it", () =>
  arena.beside(async () => {
    const mine = await socket.request("session.create", { title: "private", idempotency_key: "shared-key" });
    const { token } = await arena.guest({ user: "eve", role: "user" });
    const hers = await arena.call(
      "session.create",
      { title: "private", idempotency_key: "shared-key" },
      token,
    );
    expect(hers).toMatchObject({ owner: "eve" });
    expect(hers.session_id).not.toBe(mine.session_id);
  }));

test("the same request a hundred times at once has one effect and one answer", () =>
  arena.beside(async (round) => {
    const before = await total();
    const sockets = await Promise.all(
      Array.from({ length: 10 }, () =>
        openSocket(arena.gateway.ws_url, { headers: { authorization: `Bearer ${arena.gateway.token}` } }),
      ),
    );
    const answers = await Promise.all(
      Array.from({ length: 100 }, (_, i) =>
        (sockets[i % sockets.length] as TestSocket).request(
          "chat.inject",
          inject("at once", `at once ${round}`),
        ),
      ),
    );
    expect(new Set(answers.map(({ seq, message_id }) => `${seq} ${message_id}`)).size).toBe(1);
    expect(await total()).toBe(before + 1);
    for (const each of sockets) each.close();
    await Promise.all(sockets.map((each) => each.closed));
  }));

test("keys without end are refused at their bound, and no earlier one is forgotten for them", () =>
  arena.beside(async (round) => {
    const { token } = await arena.guest({ user: `mallory${round}`, role: "user" });
    await arena.call("session.create", { session_id: SESSION }, token);
    const outcomes: string[] = [];
    const answers = new Map<string, number>();
    const sockets = await Promise.all(
      Array.from({ length: 4 }, () =>
        openSocket(arena.gateway.ws_url, { headers: { authorization: `Bearer ${token}` } }),
      ),
    );
    await crowd(KEYS_MAX + 500, 32, async (i) => {
      const on = sockets[i % sockets.length] as TestSocket;
      await on.request("chat.inject", inject(`m${i}`, `key-${i}`)).then(
        ({ seq }) => {
          outcomes.push("ok");
          answers.set(`key-${i}`, seq);
        },
        ({ code, details }) => outcomes.push(`${code} ${details.kind} ${details.what}`),
      );
    });
    const refused = outcomes.filter((outcome) => outcome !== "ok");
    expect(answers.size).toBe(KEYS_MAX);
    expect(new Set(refused)).toEqual(new Set(["CONFLICT full keys_per_user"]));
    for (const [key, seq] of [...answers].filter((_, i) => i % 100 === 0)) {
      const again = await (sockets[0] as TestSocket).request("chat.inject", inject(`m${key.slice(4)}`, key));
      expect([key, again.seq]).toEqual([key, seq]);
    }
    // Who has no more keys may still speak, and nobody else is touched.
    await (sockets[0] as TestSocket).request("chat.inject", {
      session_id: SESSION,
      role: "user",
      content: "still",
    });
    await socket.request("chat.inject", inject("mine", "mine"));
    for (const each of sockets) each.close();
    await Promise.all(sockets.map((each) => each.closed));
  }));
