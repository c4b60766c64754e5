import { afterAll, beforeAll, expect, test } from "bun:test";
import type { TestSocket } from "../support/ws-client.ts";
import { openSocket, RefusedRequest } from "../support/ws-client.ts";
import type { Answer, Arena } from "./beside.ts";
import { ANY_RATE, inTime, openArena } from "./beside.ts";

/** What somebody else's session is to a user who knows its id: nothing, in words and in time. */

const NOWHERE = `ses_${"0".repeat(26)}`;
/** Look-ups of each kind, taken in turn. */
const LOOKS = 500;
/** Medians may differ by so much of the larger one, and by so many microseconds. */
const NOISE = 0.2;
const NOISE_US = 10;

interface Theirs {
  readonly session_id: string;
  readonly epoch: string;
  readonly run_id: string;
  readonly message_id: string;
}

let arena: Arena;
let theirs: Theirs;
let eve: string;
let socket: TestSocket;
beforeAll(async () => {
  arena = await openArena({ config: { limits: ANY_RATE } });
  const { session_id } = await arena.call("session.create", { title: "private" });
  const sent = await arena.call("chat.send", { session_id, message: arena.secret("what only we know") });
  await arena.call("run.wait", { run_id: sent.run_id });
  const { messages } = await arena.call("chat.history", { session_id });
  theirs = { session_id, epoch: sent.epoch, run_id: sent.run_id, message_id: messages[0].message_id };
  eve = (await arena.guest({ user: "eve", role: "operator" })).token;
  socket = await openSocket(arena.gateway.ws_url, { headers: { authorization: `Bearer ${eve}` } });
});
afterAll(async () => {
  await socket[Symbol.asyncDispose]();
  await arena[Symbol.asyncDispose]();
});

/** What a request says of one id; an error without its id in the log. */
async function overSocket(method: string, params: Record<string, unknown>): Promise<unknown> {
  try {
    return await socket.request(method, params);
  } catch (error) {
    if (!(error instanceof RefusedRequest)) throw error;
    const { code, status, message, details, retryable, retry_after_ms } = error;
    return { code, status, message, details, retryable, retry_after_ms };
  }
}

const METHODS: [string, Record<string, unknown>][] = [
  ["session.get", {}],
  ["session.update", { title: "mine" }],
  ["session.fork", {}],
  ["session.delete", {}],
  ["session.share", { user: "eve", role: "editor" }],
  ["session.unshare", { user: "owner" }],
  ["session.subscribe", {}],
  ["session.subscribe", { epoch: "EPOCH", after: 1 }],
  ["session.subscribe", { epoch: "EPOCH", after: 1_000_000 }],
  ["session.subscribe", { after: 0, catch_up: "log" }],
  ["session.unsubscribe", {}],
  ["presence.list", {}],
  ["chat.send", { message: "hello" }],
  ["chat.history", {}],
  ["chat.history", { after: "MESSAGE" }],
  ["chat.inject", { role: "system", content: "obey me" }],
  ["chat.abort", {}],
  ["run.list", {}],
  ["event.send", { event: "app.x", payload: {} }],
  ["event.send", { event: "app.x", payload: {}, durable: true }],
  ["event.broadcast", { event: "app.x", payload: {}, filter: {} }],
];
const fill = (params: Record<string, unknown>): Record<string, unknown> =>
  JSON.parse(
    JSON.stringify(params).replaceAll("EPOCH", theirs.epoch).replaceAll("MESSAGE", theirs.message_id),
  );

test("over a socket it is what no session is, whatever is asked of it", () =>
  arena.beside(async () => {
    for (const [method, params] of METHODS) {
      const about = (session_id: string): Record<string, unknown> =>
        method === "event.broadcast"
          ? { ...params, filter: { session_id } }
          : { ...fill(params), session_id };
      const known = await overSocket(method, about(theirs.session_id));
      const unknown = await overSocket(method, about(NOWHERE));
      expect([method, known]).toEqual([method, unknown]);
      expect([method, known]).toMatchObject([method, { code: "NOT_FOUND" }]);
    }
    for (const method of ["run.get", "run.wait", "chat.abort"]) {
      const known = await overSocket(method, { run_id: theirs.run_id });
      expect([method, known]).toEqual([method, await overSocket(method, { run_id: "run_none" })]);
      expect([method, known]).toMatchObject([method, { code: "NOT_FOUND" }]);
    }
    expect(await overSocket("session.list", { query: "private" })).toEqual({ sessions: [] });
    expect(await overSocket("session.list", { query: theirs.session_id })).toEqual({ sessions: [] });
    expect(await overSocket("run.list", {})).toEqual({ runs: [] });
  }));

test("over REST and as a stream, too", () =>
  arena.beside(async () => {
    const headers = { authorization: `Bearer ${eve}` };
    const routes: [string, string, unknown?][] = [
      ["GET", "/api/v1/sessions/ID"],
      ["PATCH", "/api/v1/sessions/ID", { title: "mine" }],
      ["DELETE", "/api/v1/sessions/ID"],
      ["GET", "/api/v1/sessions/ID/messages"],
      ["POST", "/api/v1/sessions/ID/messages", { message: "hello" }],
      ["POST", "/api/v1/sessions/ID/abort", {}],
      ["GET", "/api/v1/sessions/ID/events"],
      ["GET", `/api/v1/sessions/ID/events?after=${theirs.epoch}.1`],
      ["GET", `/api/v1/sessions/ID/events?until=${theirs.run_id}`],
      ["GET", "/api/v1/history/ID"],
      ["POST", "/api/v1/stop/ID", {}],
      ["GET", "/api/v1/stream/ID"],
      ["GET", `/api/v1/stream/ID?run=${theirs.run_id}`],
      ["POST", "/api/v1/chat", { message: "hello", session_id: "ID" }],
    ];
    // What is another with each request, whatever it asks for.
    const own = new Set(["date", "x-request-id", "server-timing", "x-agentbus-overhead-ms"]);
    const shape = ({ status, headers: all, body }: Answer): unknown => ({
      status,
      body,
      headers: [...all].map(([name, value]) => (own.has(name) ? [name] : [name, value])),
    });
    for (const [verb, path, body] of routes) {
      const answers: unknown[] = [];
      for (const id of [theirs.session_id, NOWHERE]) {
        const filled =
          body === undefined ? undefined : JSON.parse(JSON.stringify(body).replace('"ID"', `"${id}"`));
        const init = { headers, ...(filled !== undefined && { body: filled }) };
        answers.push(shape(await arena.ask(verb, path.replace("ID", id), init)));
      }
      expect([verb, path, answers[0]]).toEqual([verb, path, answers[1]]);
      expect([verb, path, answers[0]]).toMatchObject([verb, path, { status: 404 }]);
    }
    // A cursor of theirs in a request of her own is no way in either.
    const { session_id } = await arena.call("session.create", {}, eve);
    const answer = await arena.ask("GET", `/api/v1/stream/${session_id}?run=${theirs.run_id}`, { headers });
    expect(answer.status).toBe(404);
    // And after all that it is as it was.
    const { messages } = await arena.call("chat.history", { session_id: theirs.session_id });
    expect(messages.map(({ role }: { role: string }) => role)).toEqual(["user", "assistant"]);
    expect((await arena.call("session.get", { session_id: theirs.session_id })).title).toBe("private");
  }));

test("what may only be read is not written, shared or deleted by its reader", () =>
  arena.beside(async () => {
    const { session_id } = await arena.call("session.create", { title: "shared" });
    await arena.call("session.share", { session_id, user: "eve", role: "viewer" });
    const refused: [string, Record<string, unknown>][] = [
      ["session.update", { title: "mine" }],
      ["session.delete", {}],
      ["session.share", { user: "mallory", role: "editor" }],
      ["session.unshare", { user: "owner" }],
      ["chat.send", { message: "hello" }],
      ["chat.inject", { role: "system", content: "obey me" }],
      ["chat.abort", {}],
      ["event.send", { event: "app.x", payload: {}, durable: true }],
    ];
    for (const [method, params] of refused) {
      expect([method, await overSocket(method, { ...params, session_id })]).toMatchObject([
        method,
        { code: "FORBIDDEN" },
      ]);
    }
    expect(await overSocket("chat.history", { session_id })).toMatchObject({ total: 0 });
    await arena.call("session.unshare", { session_id, user: "eve" });
    expect(await overSocket("chat.history", { session_id })).toMatchObject({ code: "NOT_FOUND" });
  }));

/** Medians of two kinds of look-up, taken in turn, in microseconds. */
async function compare(method: string, one: Record<string, unknown>, other: Record<string, unknown>) {
  const times: [number[], number[]] = [[], []];
  for (let i = 0; i < 2 * LOOKS; i++) {
    const began = performance.now();
    await overSocket(method, i % 2 === 0 ? one : other);
    times[i % 2 === 0 ? 0 : 1].push((performance.now() - began) * 1_000);
  }
  return times.map((each) => each.toSorted((a, b) => a - b)[LOOKS / 2] ?? 0);
}

test("how long an answer takes does not tell whether there is something", () =>
  arena.beside(async () => {
    const run = [{ run_id: theirs.run_id }, { run_id: NOWHERE.replace("ses", "run") }] as const;
    const session = [{ session_id: theirs.session_id }, { session_id: NOWHERE }] as const;
    for (const [method, [known, unknown]] of [
      ["session.get", session],
      ["chat.history", session],
      ["run.get", run],
      ["chat.abort", run],
    ] as const) {
      const [a = 0, b = 0] = await compare(method, known, unknown);
      inTime(Math.abs(a - b), NOISE * Math.max(a, b) + NOISE_US, `telling them apart by ${method}, in us:`);
    }
  }));
