import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { EventReader } from "../support/sse-client.ts";
import type { TestSocket } from "../support/ws-client.ts";
import { openSocket, requestUpgrade } from "../support/ws-client.ts";
import type { Person, Stack } from "./stack.ts";
import { ask, eventually, refusal, startStack } from "./stack.ts";

let stack: Stack;
let owner: Person;
beforeAll(async () => {
  stack = await startStack();
  ({ owner } = stack);
  await owner.call("session.create", { session_id: "s" });
});
afterAll(() => stack[Symbol.asyncDispose]());

/** What somebody has open: a socket by its header, one by connect, a stream, and a stream of one run. */
interface Open {
  readonly byHeader: TestSocket;
  readonly byConnect: TestSocket;
  readonly stream: EventReader;
}

async function openAll(person: Person): Promise<Open> {
  const byHeader = await person.connect();
  const byConnect = await openSocket(stack.gateway.ws_url);
  await byConnect.request("connect", { auth_token: person.token });
  const stream = await person.events("/api/v1/sessions/s/events");
  await stream.next(({ event }) => event === "session.synced");
  return { byHeader, byConnect, stream };
}

/** Asserts that all of it ends within a second: the sockets with 4001, told why. */
async function allEnd({ byHeader, byConnect, stream }: Open, since: number): Promise<void> {
  for (const socket of [byHeader, byConnect]) {
    expect((await socket.closed).code).toBe(4001);
    expect(socket.frames.at(-1)?.json).toMatchObject({
      ok: false,
      error: { code: "UNAUTHORIZED", status: 4001 },
    });
  }
  // Cut or ended: either way nothing more comes.
  await stream.rest().catch(() => []);
  expect(performance.now() - since).toBeLessThan(1_000);
}

describe("tokens", () => {
  test("are shown once, listed without their secret, and admit their user with their scopes", async () => {
    const made = await owner.call("token.create", {
      name: "laptop",
      user: "s",
      role: "viewer",
      scopes: ["system.read"],
    });
    expect(structuredClone(made)).toMatchObject({
      name: "laptop",
      user: "s",
      scopes: ["chat.read", "system.read"],
      token: expect.stringMatching(/^agb_[A-Za-z0-9_-]{43}$/),
    });
    const guest = stack.person(made.token);
    expect(await guest.call("system.status")).toBeObject();
    expect(await refusal(guest.call("token.list"))).toMatchObject({ code: "FORBIDDEN" });
    const { tokens } = await owner.call("token.list");
    const { token: _secret, ...listed } = made;
    const mine = tokens.find((each: { token_id: string }) => each.token_id === made.token_id);
    expect(mine).toEqual({ ...listed, last_used_at: expect.any(Number) });
    expect(JSON.stringify(tokens)).not.toContain("agb_");
  });

  test("roles mean their scopes; nobody grants what they do not have", async () => {
    const scopesOf = async (grant: Record<string, unknown>): Promise<string[]> =>
      (await owner.call("token.create", { name: "r", ...grant })).scopes.toSorted();
    const user = ["chat.read", "chat.write", "sessions.manage", "tools.approve"];
    const operator = [...user, "clients.manage", "devices.manage", "events.broadcast", "system.read"].sort();
    expect(await scopesOf({ role: "viewer" })).toEqual(["chat.read"]);
    expect(await scopesOf({})).toEqual(user);
    expect(await scopesOf({ role: "user" })).toEqual(user);
    expect(await scopesOf({ role: "operator" })).toEqual(operator);
    expect(await scopesOf({ role: "admin" })).toEqual([...operator, "admin"].sort());
    for (const grant of [
      { name: "" },
      { name: "x".repeat(65) },
      { name: "x", role: "king" },
      { name: "x", scopes: ["all"] },
      { name: "x", expires_in_secs: 0 },
      { name: "x", user: "a b" },
    ]) {
      expect([grant, await refusal(owner.call("token.create", grant))]).toMatchObject([
        grant,
        { code: "INVALID_REQUEST" },
      ]);
    }
  });

  test("revoked, everything open by it ends within a second, and it never works again", async () => {
    const made = await owner.call("token.create", { name: "leaked", user: "owner", role: "user" });
    const person = stack.person(made.token);
    const open = await openAll(person);
    await using other = await owner.connect();
    const since = performance.now();
    expect(await owner.call("token.revoke", { token_id: made.token_id })).toEqual({ revoked: true });
    await allEnd(open, since);
    expect((await person.ask("GET", "/api/v1/sessions/s")).status).toBe(401);
    expect((await requestUpgrade(stack.gateway.ws_url, person.bearer)).status).toBe(401);
    expect(await owner.call("token.revoke", { token_id: made.token_id })).toEqual({ revoked: false });
    expect(await other.request("heartbeat")).toBeObject();
    expect((await owner.call("client.list")).clients.map((each: { user: string }) => each.user)).toEqual([
      "owner",
    ]);
  });

  test("rotated, the old secret and what is open by it end, the new one has the same rights", async () => {
    const made = await owner.call("token.create", { name: "old", user: "owner", role: "viewer" });
    const open = await openAll(stack.person(made.token));
    const since = performance.now();
    const next = await owner.call("token.rotate", { token_id: made.token_id });
    const { token, ...rest } = made;
    expect(structuredClone(next)).toMatchObject({ ...rest, token: expect.stringMatching(/^agb_/) });
    expect(next.token === token).toBe(false);
    await allEnd(open, since);
    expect((await stack.person(token).ask("GET", "/api/v1/sessions/s")).status).toBe(401);
    expect((await stack.person(next.token).ask("GET", "/api/v1/sessions/s")).status).toBe(200);
    expect(await refusal(owner.call("token.rotate", { token_id: "tok_unknown" }))).toMatchObject({
      code: "NOT_FOUND",
    });
  });

  test("expired, everything open by it ends within a second", async () => {
    const made = await owner.call("token.create", {
      name: "short",
      user: "owner",
      role: "user",
      expires_in_secs: 2,
    });
    const since = made.expires_at;
    const open = await openAll(stack.person(made.token));
    await allEnd(open, performance.now() + (since - Date.now()));
    expect(Date.now()).toBeGreaterThanOrEqual(since);
    const late = await stack.person(made.token).ask("GET", "/api/v1/sessions/s");
    expect([late.status, late.json.error.message]).toEqual([401, expect.stringContaining("expired")]);
  });

  test("the local one is replaced when it is revoked: the file has the next", async () => {
    await using own = await startStack();
    const { tokens } = await own.owner.call("token.list");
    expect(tokens).toMatchObject([{ name: "local", user: "owner" }]);
    await own.owner.call("token.revoke", { token_id: tokens[0].token_id });
    const file = join(own.gateway.data_dir, "token");
    const next = await eventually(
      async () => (await readFile(file, "utf8")).trim(),
      (token) => token !== own.owner.token,
    );
    expect((await own.owner.ask("GET", "/api/v1/stats")).status).toBe(401);
    expect((await own.person(next).ask("GET", "/api/v1/stats")).status).toBe(200);
  });

  test("the one in the configuration works beside it, over every transport", async () => {
    await using own = await startStack({ config: { gateway: { auth_token: "configured-token-0123" } } });
    const configured = own.person("configured-token-0123");
    expect(await configured.call("system.status")).toBeObject();
    await using socket = await configured.connect();
    expect(await socket.request("connect", {})).toMatchObject({
      auth_info: { user: "owner", method: "token" },
    });
    expect(await own.owner.call("system.status")).toBeObject();
    const basic = Buffer.from("gateway:configured-token-0123").toString("base64");
    expect(
      (await ask(`${own.gateway.url}/api/v1/stats`, "GET", { headers: { authorization: `Basic ${basic}` } }))
        .status,
    ).toBe(200);
    const wrong = Buffer.from("gateway:configured-token-0124").toString("base64");
    expect(
      (await ask(`${own.gateway.url}/api/v1/stats`, "GET", { headers: { authorization: `Basic ${wrong}` } }))
        .status,
    ).toBe(401);
  });
});

describe("auth sessions", () => {
  test("begin with a credential over REST, are a credential themselves, and end by logging out", async () => {
    const guest = await stack.guest({ user: "ann", role: "user" });
    const login = await ask(`${stack.gateway.url}/api/v1/auth_sessions`, "POST", {
      body: { auth_token: guest.token },
    });
    const { session_token, expires_at, scopes } = login.json;
    expect([login.status, login.json.user, session_token]).toEqual([
      201,
      "ann",
      expect.stringMatching(/^ags_/),
    ]);
    expect(expires_at - Date.now()).toBeWithin(86_390_000, 86_400_001);
    const session = stack.person(session_token);
    expect((await session.ask("GET", "/api/v1/sessions")).status).toBe(200);
    await using socket = await openSocket(stack.gateway.ws_url);
    const hello = await socket.request("connect", { session_token });
    expect(hello.auth_info).toMatchObject({ user: "ann", method: "auth_session", scopes, expires_at });
    expect(await session.call("auth_session.validate", { session_token })).toEqual({
      valid: true,
      user: "ann",
      scopes,
      expires_at,
    });
    const since = performance.now();
    expect((await session.ask("DELETE", "/api/v1/auth_sessions/current")).json).toEqual({ revoked: true });
    expect((await socket.closed).code).toBe(4001);
    expect(performance.now() - since).toBeLessThan(1_000);
    expect((await session.ask("GET", "/api/v1/sessions")).status).toBe(401);
    expect((await guest.ask("GET", "/api/v1/sessions")).status).toBe(200);
    expect(await refusal(guest.call("auth_session.revoke"))).toMatchObject({
      code: "INVALID_REQUEST",
      details: { kind: "auth_session" },
    });
  });

  test("are one's own: others neither see, check nor end them, an administrator does", async () => {
    const [bea, cal] = [await stack.guest({ user: "bea" }), await stack.guest({ user: "cal" })];
    const { session_token, auth_session_id } = await bea.call("auth_session.create");
    const ids = async (person: Person): Promise<string[]> =>
      (await person.call("auth_session.list")).auth_sessions.map(
        (each: { auth_session_id: string }) => each.auth_session_id,
      );
    expect([await ids(bea), await ids(cal)]).toEqual([[auth_session_id], []]);
    expect(await ids(owner)).toContain(auth_session_id);
    expect(await cal.call("auth_session.validate", { session_token })).toEqual({ valid: false });
    expect(await cal.call("auth_session.revoke", { auth_session_id })).toEqual({ revoked: false });
    expect(await owner.call("auth_session.validate", { session_token })).toMatchObject({
      valid: true,
      user: "bea",
    });
    expect(await bea.call("auth_session.validate", { session_token: bea.token })).toEqual({ valid: false });
    expect(await owner.call("auth_session.revoke", { auth_session_id })).toEqual({ revoked: true });
    expect(await bea.call("auth_session.validate", { session_token })).toEqual({ valid: false });
  });

  test("end with the token they were made with; tickets do too", async () => {
    const made = await owner.call("token.create", { name: "parent", user: "dan" });
    const parent = stack.person(made.token);
    const { session_token } = await parent.call("auth_session.create");
    const child = await stack.person(session_token).call("auth_session.create");
    const { ticket } = await stack.person(child.session_token).call("ticket.create");
    await using socket = await openSocket(stack.gateway.ws_url);
    await socket.request("connect", { session_token: child.session_token });
    await owner.call("token.revoke", { token_id: made.token_id });
    expect((await socket.closed).code).toBe(4001);
    for (const token of [session_token, child.session_token]) {
      expect((await stack.person(token).ask("GET", "/api/v1/sessions")).status).toBe(401);
    }
    const upgrade = await requestUpgrade(stack.gateway.ws_url, {
      "sec-websocket-protocol": `agentbus.v1, agentbus.ticket.${ticket}`,
    });
    expect(upgrade.status).toBe(401);
  });
});
