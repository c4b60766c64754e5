import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { connectDevice, newDevice } from "../support/device.ts";
import { startTailscaled } from "../support/tailscaled.ts";
import { openSocket } from "../support/ws-client.ts";
import type { Person, Stack } from "./stack.ts";
import { answering, ask, ended, eventually, idle, refusal, startStack } from "./stack.ts";

let stack: Stack;
let owner: Person;
beforeAll(async () => {
  stack = await startStack();
  ({ owner } = stack);
});
afterAll(() => stack[Symbol.asyncDispose]());

// oxlint-disable-next-line typescript/no-explicit-any -- a test looks wherever it likes
async function known(user: string): Promise<any> {
  const { users } = await owner.call("user.list", { limit: 200 });
  return users.find((each: { user: string }) => each.user === user);
}

async function restart(): Promise<void> {
  const { gateway } = stack;
  gateway.kill();
  await gateway.exited;
  await gateway.restart();
}

const disable = (user: string, disabled = true): Promise<unknown> =>
  owner.call("user.disable", { user, disabled });

describe("user.list", () => {
  test("has everybody with a credential or a session, what they may do and what they have", async () => {
    const ann = await stack.guest({ user: "list-ann", role: "operator" });
    await stack.guest({ user: "list-ann", role: "viewer" });
    await ann.call("auth_session.create");
    await ann.call("session.create");
    await using _socket = await ann.connect();
    await stack.guest({ user: "list-bob", scopes: ["chat.read", "admin"] });
    expect(await known("list-ann")).toEqual({
      user: "list-ann",
      disabled: false,
      role: "operator",
      scopes: expect.arrayContaining(["chat.read", "devices.manage"]),
      tokens: 2,
      devices: 0,
      auth_sessions: 1,
      sessions: 1,
      connections: 1,
      last_used_at: expect.any(Number),
    });
    expect(await known("list-bob")).toMatchObject({ role: "admin", tokens: 1, sessions: 0 });
    expect(await known("owner")).toMatchObject({ role: "admin", disabled: false });
    await stack.guest({ user: "list-mix", scopes: ["chat.read", "system.read"] });
    expect((await known("list-mix")).role).toBeUndefined();
  });

  test("comes in pages, by name", async () => {
    const seen: string[] = [];
    let cursor: string | undefined;
    do {
      const page = { limit: 2, ...(cursor !== undefined && { cursor }) };
      const { users, next } = await owner.call("user.list", page);
      seen.push(...users.map(({ user }: { user: string }) => user));
      cursor = next;
    } while (cursor !== undefined);
    expect(seen).toEqual([...new Set(seen)].sort());
    expect(seen).toContain("owner");
  });
});

describe("user.disable", () => {
  test("ends everything that is open within a second, and lets nothing of the user in, also after a restart", async () => {
    const eve = await stack.guest({ user: "eve", role: "operator" });
    const { session_token } = await eve.call("auth_session.create");
    const { ticket } = await eve.call("ticket.create");
    await eve.call("session.create", { session_id: "open" });
    const socket = await eve.connect();
    const login = await openSocket(stack.gateway.ws_url);
    await login.request("connect", { session_token });
    const stream = await eve.events("/api/v1/sessions/open/events");
    await stream.next(({ event }) => event === "session.synced");
    const since = performance.now();
    expect(await disable("eve")).toEqual({ user: "eve", disabled: true });
    for (const each of [socket, login]) {
      expect((await each.closed).code).toBe(4001);
      const { error } = each.frames.at(-1)?.json ?? {};
      expect(error).toMatchObject({ code: "UNAUTHORIZED", details: { kind: "disabled" } });
    }
    await stream.rest().catch(() => []);
    expect(performance.now() - since).toBeLessThan(1_000);
    const refused = { code: "UNAUTHORIZED", details: { kind: "disabled" }, retryable: false };
    const shutOut = async (): Promise<void> => {
      expect(await refusal(eve.call("system.info"))).toMatchObject(refused);
      expect(await refusal(stack.person(session_token).call("system.info"))).toMatchObject(refused);
      expect((await eve.ask("GET", "/api/v1/sessions/open/events")).status).toBe(401);
      expect(await owner.call("auth_session.validate", { session_token })).toEqual({ valid: false });
    };
    await shutOut();
    const headers = { "sec-websocket-protocol": `agentbus.v1, agentbus.ticket.${ticket}` };
    await expect(openSocket(stack.gateway.ws_url, { headers })).rejects.toThrow();
    expect(await known("eve")).toMatchObject({ disabled: true, tokens: 1, connections: 0, sessions: 1 });
    await restart();
    await shutOut();
    // What was theirs is as it was once they are let in again.
    expect(await disable("eve", false)).toEqual({ user: "eve", disabled: false });
    expect(await eve.call("session.get", { session_id: "open" })).toMatchObject({ owner: "eve" });
    expect(await owner.call("auth_session.validate", { session_token })).toMatchObject({ valid: true });
    await restart();
    expect(await eve.call("system.info")).toMatchObject({ name: "agentbus" });
  });

  test("aborts the runs in their sessions and leaves those of others", async () => {
    const mal = await stack.guest({ user: "mal", role: "user" });
    const { run_id: other } = await answering(stack, "goes-on");
    stack.model.reply().text("so far").hang();
    const { run_id } = await mal.call("chat.send", { session_id: "stops", message: "go" });
    const { run_id: waits } = await mal.call("chat.send", { session_id: "stops", message: "and then" });
    const { session_id } = await mal.call("session.get", { session_id: "stops" });
    expect(session_id).toBe("stops");
    await mal.call("session.share", { session_id: "stops", user: "owner", role: "viewer" });
    await disable("mal");
    const aborted = { status: "aborted", ended_by: "owner", reason: "user disabled" };
    expect(await ended(owner, run_id)).toMatchObject(aborted);
    expect(await ended(owner, waits)).toMatchObject(aborted);
    expect(await owner.call("run.get", { run_id: other })).toMatchObject({ status: "running" });
    await owner.call("chat.abort", { run_id: other });
    await idle(stack);
  });

  test("a REST request that waits for a run is told nothing more", async () => {
    const vic = await stack.guest({ user: "vic", role: "user" });
    await owner.call("session.create", { session_id: "watched" });
    await owner.call("session.share", { session_id: "watched", user: "vic", role: "viewer" });
    const { run_id } = await answering(stack, "watched");
    const waits = refusal(vic.call("run.wait", { run_id, timeout_ms: 20_000 }));
    await eventually(
      () => vic.call("run.get", { run_id }),
      ({ status }) => status === "running",
    );
    await disable("vic");
    await owner.call("chat.abort", { run_id });
    expect(await waits).toMatchObject({ code: "UNAUTHORIZED" });
    await idle(stack);
  });

  test("no new credential is made for somebody who is disabled", async () => {
    await stack.guest({ user: "shut", role: "user" });
    await disable("shut");
    expect(await refusal(owner.call("token.create", { name: "new", user: "shut" }))).toMatchObject({
      code: "CONFLICT",
      details: { kind: "state" },
    });
  });

  test("their auth sessions can be ended meanwhile, and stay so", async () => {
    const dan = await stack.guest({ user: "dan", role: "user" });
    const { auth_session_id, session_token } = await dan.call("auth_session.create");
    await disable("dan");
    expect(await owner.call("auth_session.revoke", { auth_session_id })).toEqual({ revoked: true });
    await disable("dan", false);
    expect(await owner.call("auth_session.validate", { session_token })).toEqual({ valid: false });
  });
});

describe("an administrator is always left", () => {
  const conflict = { code: "CONFLICT", details: { kind: "state" }, retryable: false };

  test("the owner of the machine can neither be disabled nor deleted, by nobody", async () => {
    const admin = await stack.guest({ user: "admin", role: "admin" });
    for (const who of [admin, owner]) {
      expect(await refusal(who.call("user.disable", { user: "owner" }))).toMatchObject(conflict);
      const all = { user: "owner", sessions: "delete" };
      expect(await refusal(who.call("user.delete", all))).toMatchObject(conflict);
    }
    expect(await owner.call("system.info")).toMatchObject({ name: "agentbus" });
  });

  test("nobody does it to themselves", async () => {
    const solo = await stack.guest({ user: "solo", role: "admin" });
    const refused = await refusal(solo.call("user.disable", { user: "solo" }));
    expect(refused).toMatchObject(conflict);
    expect(refused.message).toContain("another administrator");
    const all = { user: "solo", sessions: "delete" };
    expect(await refusal(solo.call("user.delete", all))).toMatchObject(conflict);
  });

  test("of two who shut each other out at once, one is out", async () => {
    for (let round = 0; round < 5; round++) {
      const names = [`left-${round}`, `right-${round}`] as const;
      const people = await Promise.all(names.map((user) => stack.guest({ user, role: "admin" })));
      const outcomes = await Promise.allSettled([
        people[0]?.call("user.disable", { user: names[1] }),
        people[1]?.call("user.disable", { user: names[0] }),
      ]);
      expect(outcomes.map(({ status }) => status).toSorted()).toEqual(["fulfilled", "rejected"]);
      const left = await Promise.all(names.map(known));
      expect(left.filter(({ disabled }) => disabled).length).toBe(1);
    }
  });
});

test("who is not there is NOT_FOUND, and only an administrator decides", async () => {
  for (const [method, more] of [
    ["user.disable", {}],
    ["user.delete", { sessions: "delete" }],
  ] as const) {
    expect(await refusal(owner.call(method, { user: "nobody", ...more }))).toMatchObject({
      code: "NOT_FOUND",
      details: { kind: "user" },
    });
    const operator = await stack.guest({ user: "op", role: "operator" });
    expect(await refusal(operator.call(method, { user: "eve", ...more }))).toMatchObject({
      code: "FORBIDDEN",
    });
  }
});

describe("whatever somebody comes in with", () => {
  test("a device of a user who is disabled is out and stays out, and no other is let in for them", async () => {
    await using other = await startStack({ config: { auth: { mode: "device" } } });
    const device = newDevice();
    const { public_key } = device;
    const grant = { public_key, user: "dev", scopes: ["chat.read"] };
    await other.owner.call("device.register", grant);
    await using socket = await openSocket(other.gateway.ws_url);
    await connectDevice(socket, device);
    await other.owner.call("user.disable", { user: "dev" });
    expect((await socket.closed).code).toBe(4001);
    await using again = await openSocket(other.gateway.ws_url);
    const refused = { code: "UNAUTHORIZED", details: { kind: "disabled" } };
    expect(await refusal(connectDevice(again, device))).toMatchObject(refused);
    const more = { ...grant, public_key: newDevice().public_key };
    expect(await refusal(other.owner.call("device.register", more))).toMatchObject({ code: "CONFLICT" });
    const { users } = await other.owner.call("user.list");
    expect(users.find(({ user }: { user: string }) => user === "dev")).toMatchObject({
      devices: 1,
      disabled: true,
    });
    await other.owner.call("user.delete", { user: "dev", sessions: "delete" });
    expect((await other.owner.call("device.list")).devices).toEqual([]);
    // Nobody knows the key any more.
    await using stranger = await openSocket(other.gateway.ws_url);
    expect(await refusal(connectDevice(stranger, device))).toMatchObject({ details: { kind: "pairing" } });
  });

  test("one whom the configuration lets in by their tailnet's login is listed, disabled, and not deleted", async () => {
    const peer = "100.101.102.103";
    await using tailscaled = await startTailscaled({ [peer]: { login: "ada@example.com" } });
    const users = { '"ada@example.com"': { user: "ada", role: "viewer" } };
    const tailscale = { socket: tailscaled.socket, users };
    const config = { auth: { mode: "tailscale", tailscale }, server: { trusted_proxies: ["127.0.0.1"] } };
    await using other = await startStack({ config });
    const { url } = other.gateway;
    const headers = { "x-forwarded-for": peer, "tailscale-user-login": "ada@example.com" };
    const enter = () => ask(`${url}/api/v1/sessions`, "GET", { headers });
    expect((await enter()).status).toBe(200);
    const ada = { user: "ada", role: "viewer", tokens: 0, disabled: false };
    expect((await other.owner.call("user.list")).users).toContainEqual(expect.objectContaining(ada));
    const gone = await refusal(other.owner.call("user.delete", { user: "ada", sessions: "delete" }));
    expect(gone).toMatchObject({
      code: "CONFLICT",
      message: expect.stringContaining("auth.tailscale.users"),
    });
    await other.owner.call("user.disable", { user: "ada" });
    const refused = await enter();
    expect([refused.status, refused.json.error.details]).toEqual([401, { kind: "disabled" }]);
    await other.owner.call("user.disable", { user: "ada", disabled: false });
    expect((await enter()).status).toBe(200);
  });
});
