import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { EventReader, ServerEvent } from "../support/sse-client.ts";
import { openEvents } from "../support/sse-client.ts";
import type { TestSocket } from "../support/ws-client.ts";
import { openSocket, requestUpgrade } from "../support/ws-client.ts";
import type { Arena, Guest } from "./beside.ts";
import { ANY_RATE, openArena, until } from "./beside.ts";

/** What holds a credential that ends is over within a second, whatever it was doing. */

const SESSION = "watched";
const AT_ONCE_MS = 1_000;
const READERS = 5;

let arena: Arena;
let name: string;
beforeAll(async () => {
  arena = await openArena({ config: { limits: ANY_RATE } });
  await arena.call("session.create", { session_id: SESSION });
  // As somebody else would call it.
  const shared = await arena.call("session.share", { session_id: SESSION, user: "eve", role: "viewer" });
  expect(shared).toEqual({});
  const eve = await arena.guest({ user: "eve", role: "viewer" });
  name = (await arena.call("session.list", {}, eve.token)).sessions[0].session_id;
});
afterAll(() => arena[Symbol.asyncDispose]());

/** Everything that one secret opened. */
interface Opened {
  readonly sockets: TestSocket[];
  readonly streams: EventReader[];
}

/** Sockets and streams of a secret: by header, by connect, by ticket; all follow the session. */
async function openAll(secret: string): Promise<Opened> {
  const { ws_url, url } = arena.gateway;
  const headers = { authorization: `Bearer ${secret}` };
  const sockets: TestSocket[] = [];
  const streams: EventReader[] = [];
  const ticket = async (): Promise<string> => {
    const { body } = await arena.ask("POST", "/api/v1/tickets", { headers });
    return arena.secret(body.ticket);
  };
  for (let i = 0; i < READERS; i++) {
    sockets.push(await openSocket(ws_url, { headers }));
    const greeted = await openSocket(ws_url);
    await greeted.request("connect", { auth_token: secret });
    sockets.push(greeted);
    sockets.push(
      await openSocket(ws_url, { protocols: ["agentbus.v1", `agentbus.ticket.${await ticket()}`] }),
    );
    streams.push(await openEvents(`${url}/api/v1/sessions/${name}/events`, { headers }));
    streams.push(await openEvents(`${url}/api/v1/sessions/${name}/events?ticket=${await ticket()}`));
  }
  for (const socket of sockets) await socket.request("session.subscribe", { session_id: name });
  for (const stream of streams) await stream.next((event) => event.event === "session.synced");
  return { sockets, streams };
}

/** What a stream still brings, whether it ends or breaks off. */
async function readAll(stream: EventReader): Promise<ServerEvent[]> {
  const events: ServerEvent[] = [];
  try {
    for await (const event of stream) events.push(event);
  } catch {
    // A stream that is cut says so by an error; what came before it counts.
  }
  return events;
}

let rounds = 0;

/** Ends a credential and says something; how everything ended, and who heard that. */
async function endAll({ sockets, streams }: Opened, end: () => Promise<unknown>) {
  const event = `app.secret${++rounds}`;
  const codes = Promise.all(sockets.map((socket) => socket.closed.then(({ code }) => code)));
  // A stream has no code: it ends, cleanly or not.
  const rests = Promise.all(streams.map(readAll));
  await end();
  const began = performance.now();
  await arena.call("event.send", { session_id: SESSION, event, payload: {}, durable: true });
  const seen = { codes: [...new Set(await codes)], rests: await rests, took: performance.now() - began };
  const texts = [
    ...sockets.flatMap(({ frames }) => frames.map(({ raw }) => raw)),
    ...seen.rests.flatMap((events) => events.map(({ raw }) => raw)),
  ];
  return { codes: seen.codes, took: seen.took, leaked: texts.filter((text) => text.includes(`"${event}"`)) };
}

/** A secret is good for nothing: not for a request, a socket, a stream, a login. */
async function useless(secret: string): Promise<void> {
  const headers = { authorization: `Bearer ${secret}` };
  const statuses = [
    (await arena.ask("GET", "/api/v1/sessions", { headers })).status,
    (await arena.ask("GET", `/api/v1/sessions/${name}/events`, { headers })).status,
    (await arena.ask("POST", "/api/v1/auth_sessions", { headers, body: {} })).status,
    (await requestUpgrade(arena.gateway.ws_url, headers)).status,
  ];
  expect(statuses.filter((status) => status !== 401 && status !== 429)).toEqual([]);
}

const viewer = (more: object = {}): Promise<Guest> => arena.guest({ user: "eve", role: "viewer", ...more });
async function logIn(token: string): Promise<{ auth_session_id: string; session_token: string }> {
  const login = await arena.call("auth_session.create", {}, token);
  arena.secret(login.session_token);
  return login;
}

describe("sockets and streams end, and nothing of what comes then is told", () => {
  const cases: [string, () => Promise<{ secret: string; end: () => Promise<unknown> }>][] = [
    [
      "when the token is revoked",
      async () => {
        const { token, token_id } = await viewer();
        return { secret: token, end: () => arena.call("token.revoke", { token_id }) };
      },
    ],
    [
      "when the token is rotated",
      async () => {
        const { token, token_id } = await viewer();
        const end = async (): Promise<void> => {
          arena.secret((await arena.call("token.rotate", { token_id })).token);
        };
        return { secret: token, end };
      },
    ],
    [
      "when the login is revoked",
      async () => {
        const { token } = await viewer();
        const { session_token, auth_session_id } = await logIn(token);
        return { secret: session_token, end: () => arena.call("auth_session.revoke", { auth_session_id }) };
      },
    ],
    [
      "when the token of the login is revoked",
      async () => {
        const { token, token_id } = await viewer();
        const { session_token } = await logIn(token);
        return { secret: session_token, end: () => arena.call("token.revoke", { token_id }) };
      },
    ],
    [
      "when the token of the login of the login is rotated",
      async () => {
        const { token, token_id } = await viewer();
        const { session_token } = await logIn((await logIn(token)).session_token);
        const end = async (): Promise<void> => {
          arena.secret((await arena.call("token.rotate", { token_id })).token);
        };
        return { secret: session_token, end };
      },
    ],
  ];
  test.each(cases)("%s", (_, prepare) =>
    arena.beside(async () => {
      const { secret, end } = await prepare();
      const opened = await openAll(secret);
      const { codes, took, leaked } = await endAll(opened, end);
      expect({ codes, leaked }).toEqual({ codes: [4001], leaked: [] });
      expect(took).toBeLessThan(AT_ONCE_MS);
      await useless(secret);
    }),
  );

  test("when the token expires", () =>
    arena.beside(async () => {
      const { token } = await viewer({ expires_in_secs: 2 });
      const made = performance.now();
      const opened = await openAll(token);
      const codes = await Promise.all(opened.sockets.map((socket) => socket.closed));
      await Promise.all(opened.streams.map(readAll));
      expect(new Set(codes.map(({ code }) => code))).toEqual(new Set([4001]));
      expect(performance.now() - made).toBeLessThan(2_000 + AT_ONCE_MS);
      await useless(token);
    }));
});

test("a ticket of a token that is revoked meanwhile is none", () =>
  arena.beside(async () => {
    const { token, token_id } = await viewer();
    const tickets: string[] = [];
    for (let i = 0; i < 10; i++) {
      tickets.push(arena.secret((await arena.call("ticket.create", {}, token)).ticket));
    }
    await arena.call("token.revoke", { token_id });
    for (const ticket of tickets) {
      const path = `/api/v1/sessions/${name}/events?ticket=${ticket}`;
      expect([401, 429]).toContain((await arena.ask("GET", path)).status);
    }
  }));

test("requests under way when their token ends are not answered with more than that", () =>
  arena.beside(async (round) => {
    const { token, token_id } = await arena.guest({ user: `mallory${round}`, role: "user" });
    await using socket = await openSocket(arena.gateway.ws_url, {
      headers: { authorization: `Bearer ${token}` },
    });
    await socket.request("session.create", { session_id: "s" });
    const answers: string[] = [];
    let sent = 0;
    const storm = setInterval(() => {
      for (let i = 0; i < 8; i++) {
        const params = { session_id: "s", role: "user", content: `m${sent++}` };
        socket.request("chat.inject", params).then(
          () => answers.push("ok"),
          (error: Error & { code?: string }) => answers.push(error.code ?? "closed"),
        );
      }
    }, 1);
    await until(() => answers.length > 50, "the storm");
    await arena.call("token.revoke", { token_id });
    const { code } = await socket.closed;
    clearInterval(storm);
    expect(code).toBe(4001);
    expect(
      answers.filter((answer) => !["ok", "closed", "RATE_LIMITED", "UNAUTHORIZED"].includes(answer)),
    ).toEqual([]);
  }));
