import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Arena } from "./beside.ts";
import { openSocket, requestUpgrade } from "../support/ws-client.ts";
import { inTime, openArena, until } from "./beside.ts";
import { dial, head } from "./raw-peer.ts";

/** Passwords cost time to look at: no number of them may cost anybody else's. */

const PASSWORD = "correct horse battery staple";
const AT_ONCE = 200;
/** What the right token may take meanwhile. */
const TOKEN_MS = 50;
/** Two are hashed at a time and sixteen wait; what comes meanwhile is told to come again. */
const LOOKED_AT = 18;

let arena: Arena;
beforeAll(async () => {
  arena = await openArena({ config: { auth: { mode: "password", password: PASSWORD } } });
  arena.secret(PASSWORD);
});
afterAll(() => arena[Symbol.asyncDispose]());

// Other addresses than 127.0.0.1 are there on Linux alone.
test.skipIf(process.platform !== "linux")("200 at once from 200 addresses keep nobody waiting", () =>
  arena.beside(async () => {
    const attempts = Array.from({ length: AT_ONCE }, async (_, index) => {
      const body = JSON.stringify({ password: arena.secret(`wrong password ${index}`) });
      const headers = { "Content-Type": "application/json", "Content-Length": String(body.length) };
      const peer = await dial(arena.port, `127.0.2.${index + 1}`);
      await peer.write(`${head("POST /api/v1/auth_sessions", arena.port, headers)}\r\n${body}`);
      await until(() => peer.bytes > 0, "an answer", 20_000);
      const status = peer.text.split(" ", 2)[1] ?? "";
      peer[Symbol.dispose]();
      return status;
    });
    const authorization = { authorization: `Bearer ${arena.gateway.token}` };
    for (let i = 0; i < 20; i++) {
      expect((await arena.ask("GET", "/api/v1/sessions", { headers: authorization })).status).toBe(200);
    }
    const statuses = await Promise.all(attempts);
    expect(statuses.filter((status) => !["401", "429", "503"].includes(status))).toEqual([]);
    const looked = statuses.filter((status) => status === "401").length;
    expect(looked).toBeGreaterThan(0);
    expect(looked).toBeLessThanOrEqual(2 * LOOKED_AT);
    // The right one is still one: from an address that made no wrong guess.
    const headers = { authorization: `Basic ${btoa(`gateway:${PASSWORD}`)}` };
    await until(
      () => arena.gateway.log.some(({ msg }) => msg === "a login was refused"),
      "a line in the log",
    );
    for (;;) {
      const { status } = await arena.ask("GET", "/api/v1/sessions", { headers });
      if (status === 200) break;
      expect([429, 503]).toContain(status);
      await Bun.sleep(50);
    }
  }),
);

test("guessed over each way in, they are slowed down, and the token never is", () =>
  arena.beside(async (round) => {
    const { gateway, ask, secret } = arena;
    const basic = (word: string): string => `Basic ${btoa(`gateway:${word}`)}`;
    const json = { "content-type": "application/json" };
    const ways: ((word: string) => Promise<number>)[] = [
      (word) =>
        ask("GET", "/api/v1/sessions", { headers: { authorization: basic(word) } }).then(
          ({ status }) => status,
        ),
      (word) =>
        ask("POST", "/api/v1/auth_sessions", { headers: json, body: { password: word } }).then(
          ({ status }) => status,
        ),
      (word) => requestUpgrade(gateway.ws_url, { authorization: basic(word) }).then(({ status }) => status),
      async (word) => {
        await using socket = await openSocket(gateway.ws_url);
        return await socket.request("connect", { password: word }).then(
          () => 200,
          ({ code }: { code: string }) =>
            ({ UNAUTHORIZED: 401, RATE_LIMITED: 429, UNAVAILABLE: 503 })[code] ?? 0,
        );
      },
    ];
    const statuses: number[] = [];
    const took: number[] = [];
    for (let i = 0; i < 20; i++) {
      for (const [number, way] of ways.entries()) {
        statuses.push(await way(secret(`guess ${round}.${i}.${number}`)));
        const began = performance.now();
        const headers = {
          authorization: number % 2 === 0 ? basic(gateway.token) : `Bearer ${gateway.token}`,
        };
        expect((await ask("GET", "/api/v1/sessions", { headers })).status).toBe(200);
        took.push(performance.now() - began);
      }
    }
    expect(statuses.filter((status) => status !== 401 && status !== 429)).toEqual([]);
    expect(statuses.filter((status) => status === 401).length).toBeLessThan(20);
    inTime(
      took.toSorted((a, b) => a - b)[Math.floor(took.length * 0.99)] ?? Number.NaN,
      TOKEN_MS,
      "the token",
    );
  }));
