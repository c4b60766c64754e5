import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import type { Principal } from "../../src/core/principal.ts";
import type { Scope } from "../../src/protocol/schema.ts";
import { SCOPES } from "../../src/protocol/schema.ts";
import { until } from "../support/engine.ts";
import type { Auth, Home } from "./auth.fixture.ts";
import { newHome, refusal, startAuth } from "./auth.fixture.ts";

let home: Home;
let auth: Auth;
let admin: Principal;
beforeEach(async () => {
  home = await newHome();
  auth = await startAuth(home);
  admin = await withToken(auth.local.token);
});
afterEach(() => home[Symbol.asyncDispose]());

const withToken = (token: string): Promise<Principal> => auth.login({ kind: "token", token });
async function someone(user: string, ...scopes: Scope[]): Promise<Principal> {
  return withToken((await auth.token({ user, scopes })).token);
}
interface Login {
  readonly auth_session_id: string;
  readonly session_token: string;
}

describe("token.create", () => {
  test("answers with the whole token, once, after it is stored", async () => {
    home.store.hold();
    const params = { name: "ci", user: "bob", role: "viewer", scopes: ["system.read"], expires_in_secs: 60 };
    const answer = auth.request<{ token: string; token_id: string }>(admin, "token.create", params);
    expect(auth.credentials.tokens()).toHaveLength(1);
    home.store.release();
    const now = home.clock.now();
    const view = {
      token_id: expect.stringMatching(/^tok_/),
      name: "ci",
      user: "bob",
      scopes: ["chat.read", "system.read"],
      created_at: now,
      expires_at: now + 60_000,
    };
    expect(await answer).toEqual({
      token: expect.stringMatching(/^agb_[A-Za-z0-9_-]{43}$/),
      ...view,
    } as never);
    const { tokens } = await auth.request<{ tokens: unknown[] }>(admin, "token.list");
    expect(tokens).toMatchObject([{ name: "local" }, view]);
    expect(JSON.stringify([tokens, auth.lines])).not.toContain((await answer).token.slice(4));
  });

  test("gives the caller's user and the role user unless told otherwise", async () => {
    const issued = await auth.request(admin, "token.create", { name: "mine" });
    expect(issued).toMatchObject({
      user: "owner",
      scopes: ["chat.read", "chat.write", "tools.approve", "sessions.manage"],
    });
    expect(issued).not.toHaveProperty("expires_at");
  });

  test("never grants what its maker lacks", async () => {
    const scopes = new Set<Scope>(["admin", "chat.read"]);
    const lesser = { ...admin, credential: null, scopes };
    expect(await refusal(auth.request(lesser, "token.create", { name: "x", role: "user" }))).toMatchObject({
      code: "FORBIDDEN",
      details: { kind: "scope", scope: "chat.write" },
    });
    expect(await auth.request(lesser, "token.create", { name: "x", role: "viewer" })).toHaveProperty("token");
  });

  test("that storage refuses makes nothing, and works again later", async () => {
    home.store.refuse(true);
    const body = await refusal(auth.request(admin, "token.create", { name: "x" }));
    expect(body).toMatchObject({ code: "UNAVAILABLE", details: { kind: "storage" } });
    expect(auth.credentials.tokens()).toHaveLength(1);
  });
});

const adminOnly: [string, Record<string, unknown>][] = [
  ["token.create", { name: "x" }],
  ["token.list", {}],
  ["token.rotate", { token_id: "tok_x" }],
  ["token.revoke", { token_id: "tok_x" }],
];
test.each(adminOnly)("%s is for administrators", async (method, params) => {
  const most = await someone("ann", ...SCOPES.filter((scope) => scope !== "admin"));
  expect(await refusal(auth.request(most, method, params))).toMatchObject({
    code: "FORBIDDEN",
    details: { kind: "scope", scope: "admin" },
  });
});

describe("token.rotate and token.revoke", () => {
  test("of an unknown token", async () => {
    const token_id = "tok_unknown";
    expect(await refusal(auth.request(admin, "token.rotate", { token_id }))).toMatchObject({
      code: "NOT_FOUND",
    });
    expect(await auth.request(admin, "token.revoke", { token_id })).toEqual({ revoked: false });
  });

  test("of an auth session's id touch nothing", async () => {
    const { auth_session_id: token_id } = await auth.request<Login>(admin, "auth_session.create");
    expect(await refusal(auth.request(admin, "token.rotate", { token_id }))).toMatchObject({
      code: "NOT_FOUND",
    });
    expect(await auth.request(admin, "token.revoke", { token_id })).toEqual({ revoked: false });
    expect(auth.credentials.authSessions(null)).toHaveLength(1);
  });

  test("keep what the token is", async () => {
    const made = await auth.token({ user: "ann", role: "viewer", expires_in_secs: 60 });
    const rotated = await auth.request<{ token: string }>(admin, "token.rotate", { token_id: made.token_id });
    expect({ ...rotated, token: made.token }).toEqual(made as never);
    expect(rotated.token).not.toBe(made.token);
  });

  test("one at a time", async () => {
    const { token, token_id } = await auth.token();
    home.store.hold();
    const first = auth.request<{ token: string }>(admin, "token.rotate", { token_id });
    for (const method of ["token.rotate", "token.revoke"]) {
      const body = await refusal(auth.request(admin, method, { token_id }));
      expect(body).toMatchObject({ code: "CONFLICT", details: { kind: "busy" }, retryable: true });
    }
    expect(await withToken(token)).toBeTruthy();
    home.store.release();
    await first;
    expect(await auth.request(admin, "token.revoke", { token_id })).toEqual({ revoked: true });
  });

  test("that storage refuses leave the token as it was", async () => {
    const { token, token_id } = await auth.token();
    home.store.refuse(true);
    for (const method of ["token.rotate", "token.revoke"]) {
      expect(await refusal(auth.request(admin, method, { token_id }))).toMatchObject({ code: "UNAVAILABLE" });
    }
    expect(await withToken(token)).toBeTruthy();
    home.store.refuse(false);
    home.clock.advance(10_000);
    await until(() => auth.journal.refused === null);
    expect(await auth.request(admin, "token.revoke", { token_id })).toEqual({ revoked: true });
    home.clock.advance(0);
    expect(auth.revoked).toEqual([token_id]);
  });
});

describe("auth_session.create", () => {
  test("has the caller's user and scopes, for a day", async () => {
    const ann = await someone("ann", "chat.read");
    const expires_at = home.clock.now() + 86_400_000;
    const login = await auth.request<Login>(ann, "auth_session.create");
    expect(login).toEqual({
      auth_session_id: expect.stringMatching(/^aus_/),
      session_token: expect.stringMatching(/^ags_[A-Za-z0-9_-]{43}$/),
      user: "ann",
      scopes: ["chat.read"],
      expires_at,
    } as never);
    expect(await withToken(login.session_token)).toEqual({
      user: "ann",
      scopes: new Set<Scope>(["chat.read"]),
      method: "auth_session",
      credential: login.auth_session_id,
      expires_at,
    });
  });

  test("is nothing once the caller's credential has ended, on the way too", async () => {
    const { token, token_id } = await auth.token();
    const by = await withToken(token);
    home.store.hold();
    const revoked = auth.request(admin, "token.revoke", { token_id });
    const login = auth.request(by, "auth_session.create");
    home.store.release();
    expect(await revoked).toEqual({ revoked: true });
    expect(await refusal(login)).toMatchObject({ code: "UNAUTHORIZED" });
    expect(await refusal(auth.request(by, "auth_session.create"))).toMatchObject({ code: "UNAUTHORIZED" });
    await auth.stop();
    expect((await startAuth(home)).credentials.authSessions(null)).toEqual([]);
  });

  test("that was written before its token was revoked does not come back at a restart", async () => {
    const { token, token_id } = await auth.token();
    const by = await withToken(token);
    home.store.hold();
    const login = auth.request<Login>(by, "auth_session.create");
    const revoked = auth.request(admin, "token.revoke", { token_id });
    home.store.release();
    const { session_token } = await login;
    await revoked;
    expect(await refusal(withToken(session_token))).toMatchObject({ code: "UNAUTHORIZED" });
    await auth.stop();
    auth = await startAuth(home);
    expect(await refusal(withToken(session_token))).toMatchObject({ code: "UNAUTHORIZED" });
  });

  test("is bounded for each user", async () => {
    const ann = await someone("ann", "chat.read");
    await Promise.all(Array.from({ length: 1_000 }, () => auth.request(ann, "auth_session.create")));
    expect(await refusal(auth.request(ann, "auth_session.create"))).toMatchObject({
      code: "CONFLICT",
      details: { kind: "full", limit: 1_000, what: "auth_sessions_per_user" },
      retryable: false,
    });
    expect(await auth.request(admin, "auth_session.create")).toHaveProperty("session_token");
  });
});

describe("auth sessions belong to a user", () => {
  let ann: Principal;
  let bob: Principal;
  let login: Login;
  beforeEach(async () => {
    ann = await someone("ann", "chat.read");
    bob = await someone("bob", "chat.read", "sessions.manage");
    login = await auth.request<Login>(ann, "auth_session.create");
  });

  test("who validates one", async () => {
    const { session_token } = login;
    const valid = {
      valid: true,
      user: "ann",
      scopes: ["chat.read"],
      expires_at: home.clock.now() + 86_400_000,
    };
    expect(await auth.request(ann, "auth_session.validate", { session_token })).toEqual(valid);
    expect(await auth.request(admin, "auth_session.validate", { session_token })).toEqual(valid);
    expect(await auth.request(bob, "auth_session.validate", { session_token })).toEqual({ valid: false });
    const { token } = await auth.token({ user: "ann" });
    for (const wrong of [token, `${session_token}x`, "x"]) {
      const answer = await auth.request(ann, "auth_session.validate", { session_token: wrong });
      expect(answer).toEqual({ valid: false });
    }
  });

  test("who lists them", async () => {
    const view = {
      auth_session_id: login.auth_session_id,
      user: "ann",
      scopes: ["chat.read"],
      method: "token",
      created_at: home.clock.now(),
      expires_at: home.clock.now() + 86_400_000,
    };
    expect(await auth.request(ann, "auth_session.list")).toEqual({ auth_sessions: [view] });
    expect(await auth.request(admin, "auth_session.list")).toEqual({ auth_sessions: [view] });
    expect(await auth.request(bob, "auth_session.list")).toEqual({ auth_sessions: [] });
  });

  test("who revokes one: another's looks like none", async () => {
    const { auth_session_id, session_token } = login;
    const revoke = (by: Principal) => auth.request(by, "auth_session.revoke", { auth_session_id });
    expect(await revoke(bob)).toEqual({ revoked: false });
    expect(await auth.request(bob, "auth_session.revoke", { auth_session_id: "aus_x" })).toEqual({
      revoked: false,
    });
    const inside = await withToken(session_token);
    expect(await revoke(ann)).toEqual({ revoked: true });
    expect(await revoke(ann)).toEqual({ revoked: false });
    expect(auth.credentials.isLive(inside)).toBe(false);
    home.clock.advance(0);
    expect(auth.revoked).toEqual([auth_session_id]);
  });

  test("an administrator revokes anybody's", async () => {
    const { auth_session_id } = login;
    expect(await auth.request(admin, "auth_session.revoke", { auth_session_id })).toEqual({ revoked: true });
    expect(await refusal(withToken(login.session_token))).toMatchObject({ code: "UNAUTHORIZED" });
  });

  test("without an id: the one the request came with", async () => {
    const inside = await withToken(login.session_token);
    const { ticket } = await auth.request<{ ticket: string }>(inside, "ticket.create");
    const byTicket = await auth.login({ kind: "ticket", ticket });
    expect(await refusal(auth.request(ann, "auth_session.revoke"))).toMatchObject({
      code: "INVALID_REQUEST",
    });
    expect(await auth.request(byTicket, "auth_session.revoke")).toEqual({ revoked: true });
    expect(await refusal(withToken(login.session_token))).toMatchObject({ code: "UNAUTHORIZED" });
    expect(await refusal(auth.request(inside, "auth_session.revoke"))).toMatchObject({
      code: "UNAUTHORIZED",
    });
  });
});
