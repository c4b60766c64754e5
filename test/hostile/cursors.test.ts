import { afterAll, beforeAll, expect, test } from "bun:test";
import { openEvents } from "../support/sse-client.ts";
import type { TestSocket } from "../support/ws-client.ts";
import { openSocket } from "../support/ws-client.ts";
import type { Arena } from "./beside.ts";
import { ANY_RATE, openArena } from "./beside.ts";

/** Positions that are none, over each transport: refused, or answered with a new beginning, never with a hole. */

const SESSION = "log";
const EVENTS = 20;

let arena: Arena;
let socket: TestSocket;
let epoch: string;
let head: number;
beforeAll(async () => {
  arena = await openArena({ config: { limits: ANY_RATE } });
  ({ epoch } = await arena.call("session.create", { session_id: SESSION }));
  for (let i = 0; i < EVENTS; i++) {
    await arena.call("chat.inject", { session_id: SESSION, role: "user", content: `m${i}` });
  }
  ({ head } = await arena.call("session.get", { session_id: SESSION }));
  const headers = { authorization: `Bearer ${arena.gateway.token}` };
  socket = await openSocket(arena.gateway.ws_url, { headers });
});
afterAll(async () => {
  await socket[Symbol.asyncDispose]();
  await arena[Symbol.asyncDispose]();
});

let asked = 0;
/** The answer to a request whose params are text that goes out as it is. */
// oxlint-disable-next-line typescript/no-explicit-any -- a test looks wherever it likes
async function ask(method: string, params: string): Promise<any> {
  const id = `r${++asked}`;
  socket.send(`{"type":"req","id":"${id}","method":"${method}","params":${params}}`);
  const { json } = await socket.next((frame) => frame.json.id === id || frame.json.id === null);
  return json;
}

/** `after` as it stands in the frame. */
const NOT_A_SEQ = [
  "-1",
  "-0.5",
  "0.5",
  "1e-9",
  "1e400",
  "-1e400",
  "9007199254740993",
  "9223372036854775807",
  "9223372036854775808",
  "18446744073709551616",
  "123456789012345678901234567890",
  '"5"',
  '""',
  "null",
  "true",
  "[]",
  "[5]",
  "{}",
  '{"valueOf":5}',
];

test("a position that is no seq is refused, and the socket stays", () =>
  arena.beside(async () => {
    for (const after of NOT_A_SEQ) {
      const { error } = await ask(
        "session.subscribe",
        `{"session_id":"${SESSION}","epoch":"${epoch}","after":${after}}`,
      );
      expect([after, error]).toMatchObject([after, { code: "INVALID_REQUEST", details: { path: "after" } }]);
    }
    for (const words of [
      "NaN",
      "Infinity",
      "-Infinity",
      "0x10",
      "01",
      "+1",
      "1_000",
      "undefined",
      ".5",
      "5.",
    ]) {
      const { error, id } = await ask("session.subscribe", `{"session_id":"${SESSION}","after":${words}}`);
      expect([words, id, error.details]).toEqual([words, null, { kind: "json" }]);
    }
    expect(await socket.request("heartbeat")).toHaveProperty("ts");
  }));

test("a position beyond the head, or of another epoch, is a new beginning", () =>
  arena.beside(async () => {
    const lost: [string, number, string][] = [
      [epoch, head + 1, "ahead"],
      [epoch, 2 ** 31, "ahead"],
      [epoch, 2 ** 32 + 1, "ahead"],
      [epoch, Number.MAX_SAFE_INTEGER, "ahead"],
      ["00000000", 1, "epoch"],
      ["zzzzzzzz", Number.MAX_SAFE_INTEGER, "epoch"],
    ];
    for (const [of, after, reason] of lost) {
      const { payload } = await ask(
        "session.subscribe",
        JSON.stringify({ session_id: SESSION, epoch: of, after }),
      );
      expect(payload).toMatchObject({ mode: "reset", reason, epoch, from: head, head });
      expect(payload.snapshot.messages).toHaveLength(EVENTS);
      const url = `${arena.gateway.url}/api/v1/sessions/${SESSION}/events?after=${of}.${after}`;
      const stream = await openEvents(url, { headers: { authorization: `Bearer ${arena.gateway.token}` } });
      const opening = await stream.next();
      expect([opening.event, opening.id]).toEqual(["session.reset", `${epoch}.${head}`]);
      stream.close();
    }
    const { error } = await ask("session.subscribe", `{"session_id":"${SESSION}","after":5}`);
    expect(error).toMatchObject({ code: "INVALID_REQUEST", details: { kind: "cursor" } });
    for (const none of ["", "AAAAAAAA", `${epoch}x`, "../../..", `${epoch.slice(1)}\n`]) {
      const refused = await ask(
        "session.subscribe",
        JSON.stringify({ session_id: SESSION, epoch: none, after: 1 }),
      );
      expect(refused.error).toMatchObject({ code: "INVALID_REQUEST", details: { path: "epoch" } });
    }
  }));

test("over SSE a bad ?after is 400, a bad Last-Event-ID is none", () =>
  arena.beside(async () => {
    const bad = [
      "",
      "5",
      ".",
      `${epoch}`,
      `${epoch}.`,
      `${epoch}.-1`,
      `${epoch}.0.5`,
      `${epoch}.1e3`,
      `${epoch}.NaN`,
      `${epoch}.Infinity`,
      `${epoch}.9007199254740993`,
      `${epoch}.9223372036854775808`,
      `${epoch}.99999999999999999999`,
      `${epoch}. 5`,
      `${epoch}.5\0`,
      `${epoch}.5\n`,
      `${epoch.toUpperCase()}.5`,
      `${epoch}.٥`,
    ];
    const headers = { authorization: `Bearer ${arena.gateway.token}` };
    const url = `/api/v1/sessions/${SESSION}/events`;
    for (const cursor of bad) {
      const answer = await arena.ask("GET", `${url}?after=${encodeURIComponent(cursor)}`, { headers });
      expect([cursor, answer.status]).toEqual([cursor, 400]);
      // What no header can carry cannot come in one.
      if (!/^[\x20-\x7e]*$/.test(cursor)) continue;
      const stream = await openEvents(`${arena.gateway.url}${url}`, { headers, lastEventId: cursor });
      expect([cursor, (await stream.next()).event]).toEqual([cursor, "session.snapshot"]);
      stream.close();
    }
    for (const query of ["after=x&after=y", "after[]=1", "AFTER=1", "epoch=1", "catch_up=all", "limit=1"]) {
      expect([query, (await arena.ask("GET", `${url}?${query}`, { headers })).status]).not.toEqual([
        query,
        200,
      ]);
    }
  }));

test("pages are asked for by numbers and ids that can be, or refused", () =>
  arena.beside(async () => {
    for (const limit of ["0", "-1", "1001", "1.5", "1e9", "1e400", '"10"', "null"]) {
      const { error } = await ask("chat.history", `{"session_id":"${SESSION}","limit":${limit}}`);
      expect([limit, error]).toMatchObject([limit, { code: "INVALID_REQUEST", details: { path: "limit" } }]);
    }
    for (const id of ["msg_none", "'; DROP TABLE messages; --", "%", "\0", "x".repeat(128)]) {
      for (const at of ["before", "after"]) {
        const { error } = await ask("chat.history", JSON.stringify({ session_id: SESSION, [at]: id }));
        expect([id, error]).toMatchObject([id, { code: "NOT_FOUND", details: { kind: "message" } }]);
      }
    }
    const cursors = [
      "",
      ":",
      "1",
      "1:",
      ":x",
      "-1:x",
      "1e3:x",
      "99999999999999999999:x",
      "x:y",
      "NaN:x",
      "\0:\0",
    ];
    for (const method of ["session.list", "run.list"]) {
      for (const cursor of cursors) {
        const { error } = await ask(method, JSON.stringify({ cursor }));
        expect([method, cursor, error]).toMatchObject([method, cursor, { code: "INVALID_REQUEST" }]);
      }
      expect(await ask(method, JSON.stringify({ cursor: "0:'; DROP TABLE sessions; --" }))).toMatchObject({
        ok: true,
      });
    }
    for (const updated_after of [-1, 0.5, 2 ** 53]) {
      const { error } = await ask("session.list", JSON.stringify({ updated_after }));
      expect(error).toMatchObject({ code: "INVALID_REQUEST", details: { path: "updated_after" } });
    }
    expect((await ask("chat.history", `{"session_id":"${SESSION}"}`)).payload.total).toBe(EVENTS);
  }));
