import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { TestSocket } from "../support/ws-client.ts";
import { openSocket, requestUpgrade } from "../support/ws-client.ts";
import type { World } from "./method-cases.ts";
import { createWorld, METHOD_CASES, WORLD_CONFIG } from "./method-cases.ts";
import type { Person, Stack } from "./stack.ts";
import { ask, ended, eventually, startStack } from "./stack.ts";

/** Who may call what: generated from the methods there are, so nothing new is open by omission. */

const SCOPES = [
  "chat.read",
  "chat.write",
  "tools.approve",
  "system.read",
  "sessions.manage",
  "devices.manage",
  "clients.manage",
  "events.broadcast",
];
const NAMES = Object.keys(METHOD_CASES);
const WRONG = `agb_${"x".repeat(43)}`;

let stack: Stack;
let world: World;
let scopes: Map<string, string | null>;
/** Tokens that were right once. */
let expired: string;
let revoked: string;
beforeAll(async () => {
  stack = await startStack({ config: WORLD_CONFIG });
  world = await createWorld(stack);
  const { owner } = stack;
  const { methods } = await owner.call("system.describe");
  scopes = new Map(methods.map((each: { name: string; scope: string | null }) => [each.name, each.scope]));
  const short = await owner.call("token.create", { name: "short", role: "admin", expires_in_secs: 1 });
  expired = short.token;
  const made = await owner.call("token.create", { name: "gone", role: "admin" });
  await owner.call("token.revoke", { token_id: made.token_id });
  revoked = made.token;
  const status = async (): Promise<number> => (await rpc("system.status", expired)).status;
  await eventually(status, (seen) => seen === 401);
});
afterAll(() => stack[Symbol.asyncDispose]());

async function rpc(name: string, token: string | null, params: Record<string, unknown> = {}) {
  const headers = token === null ? {} : { authorization: `Bearer ${token}` };
  return ask(`${stack.gateway.url}/api/v1/rpc/${name}`, "POST", { body: params, headers });
}

/** Somebody with the owner's data and just these scopes. */
function holder(granted: readonly string[]): Promise<Person> {
  return stack.guest({ user: "owner", scopes: granted });
}

/** Sends a request as the first frame after what is given; every answer that came before the socket was closed. */
async function afterwards(socket: TestSocket, name: string): Promise<{ answers: unknown[]; code: number }> {
  socket.send({ type: "req", id: "m", method: name, params: {} });
  const { code } = await socket.closed;
  const answers = socket.frames.filter(({ json }) => json.type === "res");
  return { answers: answers.map(({ json }) => [json.id, json.ok, json.error?.code]), code };
}

test("the cases cover every method", () => {
  expect([...scopes.keys()].sort()).toEqual(NAMES.toSorted());
});

describe("without a right credential nothing is answered", () => {
  const states: [string, () => string | null][] = [
    ["none", () => null],
    ["an empty one", () => ""],
    ["a wrong one", () => WRONG],
    ["an expired one", () => expired],
    ["a revoked one", () => revoked],
    ["another kind", () => `ags_${"x".repeat(43)}`],
  ];
  for (const [what, credential] of states) {
    test(`over REST with ${what}`, async () => {
      for (const name of NAMES) {
        const { status, json, headers } = await rpc(name, credential());
        expect([name, status, json.error.code]).toEqual([name, 401, "UNAUTHORIZED"]);
        expect(headers.get("www-authenticate")).toStartWith("Bearer");
        // What the method would have said is not told.
        expect(Object.keys(json)).toEqual(["error"]);
      }
    });
    if (what !== "none") {
      test(`at the upgrade with ${what}`, async () => {
        const refused = await requestUpgrade(stack.gateway.ws_url, {
          authorization: `Bearer ${credential()}`,
        });
        const { error } = (await refused.json()) as { error: { code: string } };
        expect([refused.status, error.code]).toEqual([401, "UNAUTHORIZED"]);
      });
    }
    test(`in connect with ${what}, and nothing that was sent behind it`, async () => {
      const given = credential();
      const malformed = given === "";
      for (const name of NAMES.filter((each) => each !== "connect")) {
        await using socket = await openSocket(stack.gateway.ws_url);
        const params = given === null ? {} : { auth_token: given };
        socket.send({ type: "req", id: "h", method: "connect", params });
        const { answers, code } = await afterwards(socket, name);
        const refused = ["h", false, malformed ? "INVALID_REQUEST" : "UNAUTHORIZED"];
        // An empty token is no connect at all, so the request behind it is what is refused.
        const all = malformed ? [refused, ["m", false, "UNAUTHORIZED"]] : [refused];
        expect([name, answers, code]).toEqual([name, all, 4001]);
      }
    });
  }

  test("over a socket that said nothing yet", async () => {
    for (const name of NAMES) {
      await using socket = await openSocket(stack.gateway.ws_url);
      expect([name, await afterwards(socket, name)]).toEqual([
        name,
        { answers: [["m", false, "UNAUTHORIZED"]], code: 4001 },
      ]);
    }
  });
});

describe("with too few scopes", () => {
  for (const scope of [...SCOPES, "admin"]) {
    test(`without ${scope}, what needs it is FORBIDDEN and named`, async () => {
      const needing = NAMES.filter((name) => scopes.get(name) === scope);
      const person = await holder(SCOPES.filter((each) => each !== scope));
      await using socket = await person.connect();
      for (const name of needing) {
        const refused = {
          code: "FORBIDDEN",
          status: 4003,
          details: { kind: "scope", scope },
          retryable: false,
        };
        const params = (await METHOD_CASES[name]?.params(world)) ?? {};
        await expect(socket.request(name, params), name).rejects.toMatchObject({
          ...refused,
          message: expect.stringContaining(scope),
        });
        // Socket-only methods are no REST resource at all.
        const { status, json } = await rpc(name, person.token, params);
        const isResource = METHOD_CASES[name]?.socket === undefined;
        expect(`${name} ${status}`).toBe(`${name} ${isResource ? 403 : 400}`);
        expect(json.error).toMatchObject(isResource ? refused : { details: { kind: "socket" } });
      }
      // A refusal is no reason to end the socket.
      expect(await socket.request("system.info")).toMatchObject({ name: "agentbus" });
    });
  }
});

describe("with the right scope alone", () => {
  for (const name of NAMES) {
    test(name, async () => {
      const scope = scopes.get(name) ?? null;
      const person = await holder(scope === null ? [] : [scope]);
      const { socket: kind, params } = METHOD_CASES[name] ?? { params: () => ({}) };
      if (kind === undefined) {
        const given = await params(world);
        expect(await person.ask("POST", `/api/v1/rpc/${name}`, { body: given })).toMatchObject({
          status: 200,
        });
      }
      await using socket = await person.connect();
      const given = name === "connect" ? {} : await params(world);
      expect(await socket.request(name, given)).toBeObject();
    });
  }
});

test("who may write and not read is told where the answer is, and none of it", async () => {
  const writer = await stack.guest({ user: "owner", scopes: ["chat.write"] });
  await using socket = await writer.connect();
  const sent = await socket.request("chat.send", { session_id: "write-only", message: "hello" });
  expect(sent).toMatchObject({ status: "started", subscribed: false });
  await ended(stack.owner, sent.run_id);
  // What was published before this answer was read before it.
  await socket.request("heartbeat");
  const events = socket.frames.filter(({ json }) => json.type === "event").map(({ json }) => json.event);
  expect(events).toEqual(["connect.challenge"]);
});

test("admin means every scope", async () => {
  const { scopes: all } = await stack.owner.call("token.create", { name: "all", scopes: ["admin"] });
  expect(all.toSorted()).toEqual([...SCOPES, "admin"].sort());
});

test("every REST route asks who is calling, but those that are open", async () => {
  const { json } = await ask(`${stack.gateway.url}/docs/json`, "GET");
  const open: string[] = [];
  for (const [path, verbs] of Object.entries(json.paths as Record<string, object>)) {
    for (const verb of Object.keys(verbs)) {
      const filled = path.replaceAll(/\{[^}]+\}/g, "world");
      const answer = await ask(
        `${stack.gateway.url}${filled}`,
        verb.toUpperCase(),
        verb === "get" ? {} : { body: {} },
      );
      if (answer.status === 401) expect([path, answer.json.error.code]).toEqual([path, "UNAUTHORIZED"]);
      else open.push(`${verb.toUpperCase()} ${path}`);
    }
  }
  expect(open.sort()).toEqual(["GET /health", "GET /ready", "GET /status", "POST /api/v1/challenges"]);
});

test("another user's session is nowhere, in the same words as one that does not exist", async () => {
  const eve = await stack.guest({ user: "eve", scopes: SCOPES });
  const { session_id: hidden } = await stack.owner.call("session.create");
  await using socket = await eve.connect();
  const calls: [string, Record<string, unknown>][] = [
    ["session.get", {}],
    ["session.update", { title: "x" }],
    ["session.fork", {}],
    ["session.delete", {}],
    ["session.share", { user: "eve", role: "editor" }],
    ["session.unshare", { user: "owner" }],
    ["session.subscribe", {}],
    ["session.unsubscribe", {}],
    ["presence.list", {}],
    ["chat.send", { message: "x" }],
    ["chat.history", {}],
    ["chat.abort", {}],
    ["chat.inject", { role: "user", content: "x" }],
    ["run.list", {}],
    ["event.send", { event: "app.x", payload: {} }],
    ["event.broadcast", { event: "app.x", payload: {} }],
  ];
  for (const [name, params] of calls) {
    const tell = (session_id: string): Promise<unknown> => {
      const about_it = name === "event.broadcast" ? { filter: { session_id } } : { session_id };
      return socket.request(name, { ...params, ...about_it }).then(
        () => "answered",
        ({ code, message, details, retryable }) => ({ code, message, details, retryable }),
      );
    };
    const [known, unknown] = [await tell(hidden), await tell("ses_000000000000000000000000")];
    expect([name, known]).toEqual([name, unknown]);
    expect([name, known]).toMatchObject([name, { code: "NOT_FOUND", details: { kind: "session" } }]);
  }
  for (const name of ["run.get", "run.wait"]) {
    const refused = { code: "NOT_FOUND", details: { kind: "run" } };
    await expect(socket.request(name, { run_id: world.run_id })).rejects.toMatchObject(refused);
    await expect(socket.request(name, { run_id: "run_unknown" })).rejects.toMatchObject(refused);
  }
  await expect(socket.request("chat.abort", { run_id: world.run_id })).rejects.toMatchObject({
    code: "NOT_FOUND",
    details: { kind: "run" },
  });
  expect(await socket.request("session.list")).toEqual({ sessions: [] });
  expect(await socket.request("run.list")).toEqual({ runs: [] });
});
