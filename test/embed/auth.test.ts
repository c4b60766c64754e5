import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { createGateway } from "../../src/embed/create.ts";
import type { AuthResult } from "../../src/embed/auth.ts";
import { newDevice } from "../support/device.ts";
import { startTailscaled } from "../support/tailscaled.ts";
import type { Embedded } from "./embed.fixture.ts";
import { embed, plainConfig, temporary } from "./embed.fixture.ts";

const PASSWORD = "correct horse battery staple";
let it: Embedded;
beforeAll(async () => {
  it = await embed({ auth: { mode: "multi", modes: ["token", "password", "device"], password: PASSWORD } });
});
afterAll(() => it[Symbol.asyncDispose]());

const refusal = (result: AuthResult) => [result.success, result.reason];

describe("authenticateToken", () => {
  test("a right one says who it is; a wrong one is an answer", async () => {
    const { auth } = it.gateway;
    expect(await auth.authenticateToken(it.token)).toEqual({
      success: true,
      userId: "owner",
      method: "token",
      scopes: expect.arrayContaining(["admin", "chat.read"]),
    });
    expect(await auth.authenticateToken("wrong", { remote: "192.0.2.1" })).toEqual({
      success: false,
      reason: "UNAUTHORIZED",
      message: expect.stringContaining("this token is wrong"),
    });
  });

  test("whatever is passed for a token is an answer", async () => {
    for (const odd of ["", " ", "x".repeat(100_000), "\0", undefined, null, 7, {}, []]) {
      const result = await it.gateway.auth.authenticateToken(odd as string, { remote: "192.0.2.2" });
      expect(result.success).toBe(false);
    }
  });

  test("guesses are slowed by where they come from; a right one never is", async () => {
    const { auth } = it.gateway;
    const guess = (i: number) => auth.authenticateToken(`guess ${i}`, { remote: "192.0.2.3" });
    const results: AuthResult[] = [];
    for (let i = 0; i < 30; i++) results.push(await guess(i));
    const last = results.at(-1);
    expect(results[0]?.reason).toBe("UNAUTHORIZED");
    expect([last?.reason, (last?.retryAfterMs ?? 0) > 0]).toEqual(["RATE_LIMITED", true]);
    expect((await auth.authenticateToken(it.token, { remote: "192.0.2.3" })).success).toBe(true);
    expect((await auth.authenticateToken("elsewhere", { remote: "192.0.2.4" })).reason).toBe("UNAUTHORIZED");
  });

  test("goes into the audit trail, right or wrong", async () => {
    await it.gateway.auth.authenticateToken("for the trail", { remote: "192.0.2.5", clientId: "door" });
    await using socket = await it.connect();
    const { entries } = await socket.request("audit.list", { action: "login" });
    expect(entries).toContainEqual(
      expect.objectContaining({
        action: "login",
        transport: "local",
        remote: "192.0.2.5",
        client_id: "door",
        outcome: "UNAUTHORIZED",
      }),
    );
    expect(JSON.stringify(entries)).not.toContain("for the trail");
  });
});

describe("authenticatePassword", () => {
  test("the right one and wrong ones", async () => {
    const { auth } = it.gateway;
    expect(await auth.authenticatePassword(PASSWORD)).toMatchObject({
      success: true,
      userId: "owner",
      method: "password",
    });
    expect(refusal(await auth.authenticatePassword("wrong", { remote: "192.0.2.6" }))).toEqual([
      false,
      "UNAUTHORIZED",
    ]);
    expect(refusal(await auth.authenticatePassword("", { remote: "192.0.2.6" }))).toEqual([
      false,
      "UNAUTHORIZED",
    ]);
  });
});

describe("logins", () => {
  test("of who was authenticated: valid until it is revoked, over the wire too", async () => {
    const { auth } = it.gateway;
    const by = await auth.authenticateToken(it.token);
    const login = await auth.createSession(by);
    expect(login).toEqual({
      success: true,
      userId: "owner",
      method: "auth_session",
      scopes: by.scopes!,
      expiresAt: expect.any(Number),
      sessionId: expect.stringMatching(/^aus_/),
      sessionToken: expect.stringMatching(/^ags_/),
    });
    const token = login.sessionToken ?? "";
    expect(await auth.validateSession(token)).toEqual({
      success: true,
      userId: "owner",
      method: "auth_session",
      scopes: by.scopes!,
      expiresAt: login.expiresAt!,
    });
    await using socket = await it.connect({}, { token });
    expect((await socket.request("session.list", {})).sessions).toBeArray();
    expect(await auth.revokeSession(token)).toEqual({
      success: true,
      userId: "owner",
      method: "auth_session",
    });
    expect(refusal(await auth.validateSession(token, { remote: "192.0.2.9" }))).toEqual([
      false,
      "UNAUTHORIZED",
    ]);
    expect((await socket.closed).code).toBe(4001);
    expect(refusal(await auth.revokeSession(token))).toEqual([false, "NOT_FOUND"]);
  });

  test("of a device carry it, and end with it", async () => {
    const { auth } = it.gateway;
    const device = newDevice();
    await auth.registerDevice({ publicKey: device.public_key, userId: "dora", role: "viewer" });
    const { nonce, serverId, timestamp } = auth.challenge();
    const { signature } = device.prove({ server_id: serverId, nonce, client_id: "d", timestamp });
    const by = await auth.authenticateDevice(device.device_id, signature, nonce, timestamp, {
      clientId: "d",
    });
    const { sessionToken = "" } = await auth.createSession(by);
    expect(await auth.validateSession(sessionToken)).toMatchObject({
      success: true,
      userId: "dora",
      deviceId: device.device_id,
    });
    await using socket = await it.connect();
    await socket.request("device.revoke", { device_id: device.device_id });
    expect((await auth.validateSession(sessionToken, { remote: "192.0.2.10" })).success).toBe(false);
  });

  test("of a user the program vouches for, with a role; it outlives a restart", async () => {
    await using directory = await temporary();
    const config = plainConfig(directory.path);
    const silent = { ...config, log: { level: "silent" as const } };
    const first = createGateway(silent);
    await first.start();
    const login = await first.auth.createSession({ userId: "ann", role: "viewer" });
    expect(login).toMatchObject({ success: true, userId: "ann", scopes: ["chat.read"] });
    await first.stop();
    const second = createGateway(silent);
    await second.start();
    expect(await second.auth.validateSession(login.sessionToken ?? "")).toMatchObject({
      success: true,
      userId: "ann",
    });
    expect(await second.auth.revokeSession(login.sessionId ?? "")).toMatchObject({ success: true });
    await second.stop();
  });

  test("of nobody are refused", async () => {
    const { auth } = it.gateway;
    const wrong = await auth.authenticateToken("wrong", { remote: "192.0.2.11" });
    for (const by of [wrong, { success: true, userId: "made-up" }, { userId: "" }, {}]) {
      expect(refusal(await auth.createSession(by as AuthResult))).toEqual([false, "UNAUTHORIZED"]);
    }
  });
});

describe("authenticateTailscale", () => {
  test("a peer that tailscaled knows and the configuration lists", async () => {
    await using tailscaled = await startTailscaled({
      "100.64.0.7": { login: "ada@example.com" },
      "100.64.0.8": { login: "eve@example.com" },
    });
    const users = { "ada@example.com": { user: "ada", role: "user" as const } };
    await using other = await embed({
      auth: { allow_tailscale: true, tailscale: { socket: tailscaled.socket, users } },
    });
    const { auth } = other.gateway;
    expect(await auth.authenticateTailscale({ address: "100.64.0.7", port: 4711 })).toMatchObject({
      success: true,
      userId: "ada",
      method: "tailscale",
    });
    const forged = { address: "100.64.0.8", port: 4711, login: "ada@example.com" };
    expect(refusal(await auth.authenticateTailscale(forged))).toEqual([false, "UNAUTHORIZED"]);
    expect(refusal(await auth.authenticateTailscale({ address: "100.64.0.9", port: 1 }))).toEqual([
      false,
      "UNAUTHORIZED",
    ]);
    expect(refusal(await auth.authenticateTailscale({ address: "127.0.0.1", port: 1 }))).toEqual([
      false,
      "UNAUTHORIZED",
    ]);
    const ada = await auth.authenticateTailscale({ address: "100.64.0.7", port: 4711 });
    expect(refusal(await auth.createSession(ada))).toEqual([false, "FORBIDDEN"]);
  });

  test("nobody where it is off, in mode none as well", async () => {
    await using open = await embed({ auth: { mode: "none" } });
    const peer = { address: "100.64.0.7", port: 4711 };
    expect(await it.gateway.auth.authenticateTailscale(peer)).toMatchObject({
      success: false,
      message: expect.stringContaining("auth.allow_tailscale"),
    });
    expect((await open.gateway.auth.authenticateTailscale(peer)).success).toBe(false);
    const socket = join(open.data_dir, "no-tailscaled");
    await using both = await embed({ auth: { mode: "none", allow_tailscale: true, tailscale: { socket } } });
    expect((await both.gateway.auth.authenticateTailscale(peer)).success).toBe(false);
  });
});
