import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { TestSocket } from "../support/ws-client.ts";
import { openSocket } from "../support/ws-client.ts";
import type { Arena } from "./beside.ts";
import { ANY_RATE, openArena } from "./beside.ts";

/** JSON that is made to hurt who reads it. */

const KIB = 1024;
const NAMES = ["__proto__", "constructor", "prototype", "toString", "hasOwnProperty", "valueOf", "then"];

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
/** An administrator who has nothing yet. */
async function bearerOf(user: string): Promise<Record<string, string>> {
  const { token } = await arena.guest({ user, role: "admin" });
  return { authorization: `Bearer ${token}` };
}

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
function ask(method: string, params: object | string, on = socket): Promise<any> {
  const text = typeof params === "string" ? params : JSON.stringify(params);
  return say(`{"type":"req","id":"RID","method":${JSON.stringify(method)},"params":${text}}`, on);
}

describe("names that objects have by themselves", () => {
  test("are fields nobody knows, methods nobody has, and data like any other", () =>
    arena.beside(async (round) => {
      const headers = await bearerOf(`mallory${round}`);
      await using mine = await openSocket(arena.gateway.ws_url, { headers });
      const askMine = (method: string, params: object | string) => ask(method, params, mine);
      for (const name of NAMES) {
        const key = JSON.stringify(name);
        expect(await askMine(name, {})).toMatchObject({
          error: { code: "NOT_FOUND", details: { kind: "method" } },
        });
        expect(await askMine("session.list", `{${key}:{"limit":1}}`)).toMatchObject({
          error: { details: { kind: "unknown_field", path: name } },
        });
        // The frame itself ignores what it does not know.
        const more = `{"type":"req","id":"RID","method":"system.info",${key}:{"method":"token.list"}}`;
        expect(await say(more, mine)).toMatchObject({ ok: true, payload: { name: "agentbus" } });
        const rest = await arena.ask("GET", `/api/v1/sessions?${name}=1`, { headers });
        expect([name, rest.status]).toEqual([name, 422]);
        const rpc = await arena.ask("POST", `/api/v1/rpc/${name}`, { headers, body: {} });
        expect([name, rpc.status]).toEqual([name, 404]);

        const metadata = `{${key}:{"admin":true},"nested":{${key}:[1]}}`;
        const made = await askMine(
          "session.create",
          `{"session_id":${key},"title":${key},"metadata":${metadata}}`,
        );
        expect(JSON.stringify(made.payload.metadata)).toBe(metadata);
        const found = await askMine("session.get", { session_id: name });
        expect(found.payload).toMatchObject({ session_id: name, title: name, archived: false });
        expect(JSON.stringify(found.payload.metadata)).toBe(metadata);
        expect((await askMine("session.subscribe", { session_id: name })).ok).toBe(true);
        const injected = { session_id: name, role: "user", content: name, idempotency_key: name };
        const first = await askMine("chat.inject", injected);
        expect(await askMine("chat.inject", injected)).toMatchObject({ payload: first.payload });
        await askMine("event.send", {
          session_id: name,
          event: `app.${name}`,
          payload: { [name]: 1 },
          durable: true,
        });
        expect((await askMine("session.delete", { session_id: name })).ok).toBe(true);
      }
      // Nobody became anything by that.
      expect(await askMine("session.list", {})).toMatchObject({ payload: { sessions: [] } });
      expect({}).not.toHaveProperty("admin");
    }));
});

describe("JSON that is too much", () => {
  const deep = (levels: number, open: string, close: string): string =>
    `${open.repeat(levels)}1${close.repeat(levels)}`;

  test("10,000 levels are refused before they are read, 32 are not", () =>
    arena.beside(async () => {
      for (const [open, close] of [
        ['{"a":', "}"],
        ["[", "]"],
        ['[{"a":', "}]"],
      ] as const) {
        for (const levels of [33, 1_000, 10_000]) {
          const { error } = await ask("session.create", `{"metadata":${deep(levels, open, close)}}`);
          expect(error.details).toMatchObject({ kind: "depth", limit: 32 });
          const body = `{"metadata":${deep(levels, open, close)}}`;
          const answer = await arena.ask("POST", "/api/v1/sessions", { headers: bearer(), body });
          expect([answer.status, answer.body.error.details.kind]).toEqual([400, "depth"]);
        }
      }
      // What opens and never closes, and what only looks like it.
      await using fresh = await openSocket(arena.gateway.ws_url, { headers: bearer() });
      expect(await say("[".repeat(200_000), fresh)).toMatchObject({ error: { details: { kind: "depth" } } });
      const brackets = `\\"${"[{".repeat(3_000)}\\\\`;
      expect(await ask("session.create", `{"title":"t","metadata":{"k":"${brackets}"}}`)).toMatchObject({
        ok: true,
      });
      expect(await ask("session.create", `{"metadata":{"k":${deep(28, "[", "]")}}}`)).toMatchObject({
        ok: true,
      });
    }));

  test("a million keys, a long name, a long string, a long number: refused at their bound", () =>
    arena.beside(async () => {
      await using fresh = await openSocket(arena.gateway.ws_url, { headers: bearer() });
      const keys = (count: number): string =>
        `{${Array.from({ length: count }, (_, i) => `"k${i}":0`).join(",")}}`;
      const million = keys(1_000_000);
      expect((await arena.ask("POST", "/api/v1/sessions", { headers: bearer(), body: million })).status).toBe(
        413,
      );
      fresh.send(`{"type":"req","id":"x","method":"session.create","params":${million}}`);
      expect((await fresh.closed).code).toBe(1009);
      // As many as fit.
      const unknown = await ask("session.create", keys(20_000));
      expect(unknown.error.details).toEqual({ kind: "unknown_field", path: "k0" });
      expect(await ask("session.create", `{"metadata":${keys(20_000)}}`)).toMatchObject({
        error: { code: "TOO_LARGE", details: { kind: "metadata_bytes" } },
      });
      const body = `{"metadata":${keys(80_000)}}`;
      expect((await arena.ask("POST", "/api/v1/sessions", { headers: bearer(), body })).status).toBe(413);
      for (const [params, code] of [
        [`{"title":"${"t".repeat(201)}"}`, "TOO_LARGE"],
        [`{"system_prompt":"${"s".repeat(65 * KIB)}"}`, "TOO_LARGE"],
        [`{"model":"${"m".repeat(257)}"}`, "INVALID_REQUEST"],
        [`{"idempotency_key":"${"k".repeat(129)}"}`, "INVALID_REQUEST"],

        [`{"${"x".repeat(100 * KIB)}":1}`, "INVALID_REQUEST"],
      ] as const) {
        const { ok, error } = await ask("session.create", params);
        expect([params.slice(0, 20), ok, error?.code]).toEqual([params.slice(0, 20), false, code]);
      }
      const long = await ask("chat.inject", {
        session_id: "none",
        role: "user",
        content: "x".repeat(129 * KIB),
      });
      expect(long.error).toMatchObject({ code: "TOO_LARGE", details: { kind: "message_bytes" } });
    }));

  test("numbers nobody can mean are refused, or stay what JSON makes of them", () =>
    arena.beside(async () => {
      const { run_id } = (await ask("chat.send", { session_id: "numbers", message: "hi" })).payload;
      for (const value of ["-1", "1e15", "1e400", "60001", "0.5", '"1"', "[1]"]) {
        const { error } = await ask("run.wait", `{"run_id":"${run_id}","timeout_ms":${value}}`);
        expect([value, error]).toMatchObject([
          value,
          { code: "INVALID_REQUEST", details: { path: "timeout_ms" } },
        ]);
      }
      for (const value of ["0", "-1", "1e18", "1e400", "315360001", "0.1"]) {
        const { error } = await ask("token.create", `{"name":"n","expires_in_secs":${value}}`);
        expect([value, error]).toMatchObject([value, { code: "INVALID_REQUEST" }]);
      }
      const metadata = '{"a":1e400,"b":-1e400,"c":-0,"d":12345678901234567890,"e":1e-400}';
      const { payload } = await ask("session.create", `{"metadata":${metadata}}`);
      const endless = await ask("session.create", `{"metadata":{"n":${"9".repeat(200 * KIB)}}}`);
      expect(endless.payload.metadata).toEqual({ n: null });
      expect(JSON.stringify(payload.metadata)).toBe(
        '{"a":null,"b":null,"c":0,"d":12345678901234567000,"e":0}',
      );
    }));

  test("a key that is there twice counts once, for the check and for what is done", () =>
    arena.beside(async (round) => {
      const twice = '{"type":"req","id":"first","id":"RID","method":"token.list","method":"system.info"}';
      expect(await say(twice)).toMatchObject({ ok: true, payload: { name: "agentbus" } });
      const { payload } = await ask(
        "session.create",
        `{"session_id":"one","session_id":"two${round}","title":"a","title":"b"}`,
      );
      expect(payload).toMatchObject({ session_id: `two${round}`, title: "b" });
      expect(await ask("session.get", { session_id: "one" })).toMatchObject({ error: { code: "NOT_FOUND" } });
      const viewer = await arena.guest({ user: "eve", role: "viewer" });
      const body = '{"name":"x","role":"viewer","role":"admin"}';
      const headers = { authorization: `Bearer ${viewer.token}` };
      expect((await arena.ask("POST", "/api/v1/rpc/token.create", { headers, body })).status).toBe(403);
      const there = { headers: bearer(), body: `{"session_id":"two${round}","message":"hi"}` };
      expect((await arena.ask("POST", "/api/v1/sessions/one/messages", there)).status).toBe(400);
    }));
});
