import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { askToPair, connectDevice, newDevice } from "../support/device.ts";
import type { TestDevice } from "../support/device.ts";
import { openSocket } from "../support/ws-client.ts";
import type { TestSocket } from "../support/ws-client.ts";
import type { Answer, Person, Stack } from "./stack.ts";
import { ask, refusal, startStack } from "./stack.ts";

let stack: Stack;
let owner: Person;
beforeAll(async () => {
  stack = await startStack({
    config: { auth: { mode: "device" }, server: { allowed_origins: ["https://app.example.com"] } },
  });
  ({ owner } = stack);
  await owner.call("session.create", { session_id: "s" });
});
afterAll(() => stack[Symbol.asyncDispose]());

function bare(headers: Record<string, string> = {}): Promise<TestSocket> {
  return openSocket(stack.gateway.ws_url, { headers });
}

/** A device of the owner's with these scopes. */
async function admitted(scopes: readonly string[] = ["chat.read"]): Promise<TestDevice> {
  const device = newDevice();
  await owner.call("device.register", { public_key: device.public_key, user: "owner", scopes });
  return device;
}

/** A login over REST. */
async function logIn(device: TestDevice, more: Record<string, unknown> = {}): Promise<Answer> {
  const { json } = await ask(`${stack.gateway.url}/api/v1/challenges`, "POST");
  const body = { client_id: "cli", device: device.prove(json), ...more };
  return ask(`${stack.gateway.url}/api/v1/auth_sessions`, "POST", { body });
}

describe("pairing", () => {
  test("a device nobody knows shows a code, is approved over REST, and comes in over a socket", async () => {
    const device = newDevice();
    await using first = await bare();
    const hello = { client_id: "phone-1", client_name: "My phone" };
    const told = await refusal(connectDevice(first, device, hello));
    expect(structuredClone(told)).toMatchObject({
      code: "UNAUTHORIZED",
      status: 4001,
      retryable: true,
      retry_after_ms: expect.any(Number),
      details: {
        kind: "pairing",
        code: expect.stringMatching(/^[2-9A-HJ-NP-Z]{4}-[2-9A-HJ-NP-Z]{4}$/),
        expires_at: expect.any(Number),
      },
    });
    expect((await first.closed).code).toBe(4008);
    const code = String(told.details?.["code"]);
    expect(await askToPair(stack.gateway.ws_url, device, hello)).toBe(code);
    const { pairing_requests } = (await owner.ask("GET", "/api/v1/devices")).json;
    expect(pairing_requests).toEqual([
      {
        code,
        device_id: device.device_id,
        client_id: "phone-1",
        client_name: "My phone",
        platform: "linux",
        remote: "127.0.0.1",
        scopes: [],
        created_at: expect.any(Number),
        expires_at: told.details?.["expires_at"],
      },
    ]);
    const approved = await owner.call("device.approve", {
      code: code.toLowerCase().replace("-", " "),
      scopes: ["chat.read", "chat.write"],
    });
    expect(approved).toEqual({
      device_id: device.device_id,
      public_key: device.public_key,
      name: "My phone",
      user: "owner",
      scopes: ["chat.read", "chat.write"],
      created_at: expect.any(Number),
    });
    await using socket = await bare();
    const { auth_info } = await connectDevice(socket, device, hello);
    expect(auth_info).toEqual({ user: "owner", method: "device", scopes: ["chat.read", "chat.write"] });
    expect(await socket.request("session.get", { session_id: "s" })).toMatchObject({ owner: "owner" });
    expect(await refusal(socket.request("device.list"))).toMatchObject({ code: "FORBIDDEN" });
    const listed = (await owner.ask("GET", "/api/v1/devices")).json;
    expect(listed).toEqual({
      devices: [{ ...approved, last_used_at: expect.any(Number) }],
      pairing_requests: [],
    });
    expect(await refusal(owner.call("device.approve", { code, scopes: [] }))).toMatchObject({
      code: "NOT_FOUND",
    });
  });

  test("refused, it is told so and not to come back", async () => {
    const device = newDevice();
    const code = await askToPair(stack.gateway.ws_url, device);
    expect(await owner.call("device.reject", { code })).toEqual({ rejected: true });
    await using socket = await bare();
    expect(await refusal(connectDevice(socket, device))).toMatchObject({
      code: "FORBIDDEN",
      retryable: false,
      details: { kind: "pairing_rejected" },
    });
    expect((await socket.closed).code).toBe(4003);
  });

  test("over REST, too", async () => {
    const device = newDevice();
    const told = await logIn(device, { client_name: "cron", platform: "linux" });
    expect([told.status, told.headers.get("retry-after")]).toEqual([401, "3"]);
    const { code } = told.json.error.details;
    await owner.call("device.approve", { code, role: "viewer" });
    const login = await logIn(device);
    expect(login).toMatchObject({ status: 201, json: { user: "owner", scopes: ["chat.read"] } });
    expect(
      await stack.person(login.json.session_token).call("session.get", { session_id: "s" }),
    ).toBeObject();
  });
});

describe("a device", () => {
  test("gets of what it was granted what it asks for", async () => {
    const device = await admitted(["chat.read", "chat.write", "system.read"]);
    const asks: [string[], string[]][] = [
      [[], ["chat.read", "chat.write", "system.read"]],
      [["chat.read"], ["chat.read"]],
      [
        ["system.read", "chat.read", "admin.more"],
        ["chat.read", "system.read"],
      ],
      [["clients.manage"], []],
    ];
    for (const [scopes, granted] of asks) {
      await using socket = await bare();
      const { auth_info } = await connectDevice(socket, device, { scopes });
      expect([scopes, auth_info.scopes.toSorted()]).toEqual([scopes, granted]);
    }
  });

  test("signs the origin it comes from", async () => {
    const device = await admitted();
    const origin = "https://app.example.com";
    await using right = await bare({ origin });
    expect(await connectDevice(right, device, { origin })).toBeObject();
    await using wrong = await bare({ origin });
    expect(await refusal(connectDevice(wrong, device))).toMatchObject({ code: "UNAUTHORIZED" });
    expect((await wrong.closed).code).toBe(4001);
  });

  test("uses a nonce once, on the connection it was given to", async () => {
    const device = await admitted();
    await using first = await bare();
    const { json } = await first.nextEvent("connect.challenge");
    const proof = device.prove(json.payload);
    await using second = await bare();
    const stolen = { client_id: "cli", device: proof };
    expect(await refusal(second.request("connect", stolen))).toMatchObject({ code: "UNAUTHORIZED" });
    expect(await first.request("connect", stolen)).toBeObject();
    const { json: challenge } = await ask(`${stack.gateway.url}/api/v1/challenges`, "POST");
    expect(challenge.server_id).toBe(json.payload.server_id);
    const body = { client_id: "cli", device: device.prove(challenge) };
    const login = (): Promise<Answer> => ask(`${stack.gateway.url}/api/v1/auth_sessions`, "POST", { body });
    expect([(await login()).status, (await login()).status]).toEqual([201, 401]);
    await using third = await bare();
    expect(await refusal(third.request("connect", body))).toMatchObject({ code: "UNAUTHORIZED" });
  });

  test("is renamed, and is found by the id that was chosen for it and by its own", async () => {
    const device = newDevice();
    const { public_key } = device;
    const grant = { public_key, device_id: "kitchen", user: "owner", scopes: ["chat.read"] };
    expect(await owner.call("device.register", grant)).toMatchObject({ device_id: "kitchen", name: "" });
    for (const again of [grant, { ...grant, device_id: "other" }]) {
      const details = { kind: "exists" };
      expect(await refusal(owner.call("device.register", again))).toMatchObject({
        code: "CONFLICT",
        details,
      });
    }
    for (const device_id of ["kitchen", device.device_id]) {
      await using socket = await bare();
      expect(await connectDevice(socket, device, { device_id })).toMatchObject({
        auth_info: { method: "device" },
      });
    }
    expect(await owner.call("device.rename", { device_id: "kitchen", name: "Kitchen" })).toMatchObject({
      device_id: "kitchen",
      name: "Kitchen",
      last_used_at: expect.any(Number),
    });
    const unknown = owner.call("device.rename", { device_id: "attic", name: "x" });
    expect(await refusal(unknown)).toMatchObject({ code: "NOT_FOUND", details: { kind: "device" } });
  });

  test("revoked, everything open by it ends within a second, and it is a stranger again", async () => {
    const device = await admitted();
    await using whole = await bare();
    await connectDevice(whole, device);
    await using part = await bare();
    await connectDevice(part, device, { scopes: ["chat.read"] });
    const { session_token } = (await logIn(device)).json;
    const stream = await stack.person(session_token).events("/api/v1/sessions/s/events");
    await stream.next(({ event }) => event === "session.synced");
    await using other = await owner.connect();
    const since = performance.now();
    const { device_id } = device;
    expect(await owner.call("device.revoke", { device_id })).toEqual({ revoked: true });
    for (const socket of [whole, part]) {
      expect((await socket.closed).code).toBe(4001);
      expect(socket.frames.at(-1)?.json).toMatchObject({ ok: false, error: { code: "UNAUTHORIZED" } });
    }
    // Cut or ended: either way nothing more comes.
    await stream.rest().catch(() => []);
    expect(performance.now() - since).toBeLessThan(1_000);
    expect((await stack.person(session_token).ask("GET", "/api/v1/sessions/s")).status).toBe(401);
    expect(await other.request("heartbeat")).toBeObject();
    expect(await owner.call("device.revoke", { device_id })).toEqual({ revoked: false });
    const code = await askToPair(stack.gateway.ws_url, device);
    expect(await owner.call("device.reject", { code })).toEqual({ rejected: true });
  });
});

test("nobody admits a device for more than they may do themselves", async () => {
  const operator = await stack.guest({ user: "ann", role: "operator" });
  const { public_key } = newDevice();
  const grants: [Record<string, unknown>, string][] = [
    [{ user: "ann", scopes: ["admin"] }, "admin"],
    [{ user: "owner", scopes: ["chat.read"] }, "admin"],
  ];
  for (const [grant, scope] of grants) {
    const refused = { code: "FORBIDDEN", details: { kind: "scope", scope } };
    expect(await refusal(operator.call("device.register", { public_key, ...grant }))).toMatchObject(refused);
    const code = await askToPair(stack.gateway.ws_url, newDevice());
    expect(await refusal(operator.call("device.approve", { code, ...grant }))).toMatchObject(refused);
    // It was not used up.
    expect(await operator.call("device.approve", { code, role: "viewer" })).toMatchObject({ user: "ann" });
  }
});
