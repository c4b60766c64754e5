import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import type { Principal } from "../../src/core/principal.ts";
import type { TestDevice } from "../support/device.ts";
import { deviceCredential, newDevice } from "../support/device.ts";
import { until } from "../support/engine.ts";
import type { Auth, Home } from "./auth.fixture.ts";
import { newHome, refusal, SERVER_ID, startAuth } from "./auth.fixture.ts";

let home: Home;
let auth: Auth;
let admin: Principal;
beforeEach(async () => {
  home = await newHome();
  await start();
});
afterEach(() => home[Symbol.asyncDispose]());

async function start(): Promise<void> {
  auth = await startAuth(home, { mode: "device" });
  admin = await auth.login({ kind: "token", token: auth.local.token });
}

/** As after an orderly stop. */
async function restart(): Promise<void> {
  await auth.stop();
  await start();
}

async function admitted(grant: Record<string, unknown> = {}): Promise<TestDevice> {
  const device = newDevice();
  const { public_key } = device;
  await auth.request(admin, "device.register", { public_key, user: "ada", scopes: ["chat.read"], ...grant });
  return device;
}

function enter(device: TestDevice, scopes: readonly string[] = []): Promise<Principal> {
  const signing = { server_id: SERVER_ID, nonce: "n", timestamp: home.clock.now(), scopes };
  return auth.login(deviceCredential(device.prove(signing)));
}

async function devices(): Promise<Record<string, unknown>[]> {
  return (await auth.request<{ devices: Record<string, unknown>[] }>(admin, "device.list")).devices;
}

function revoke({ device_id }: TestDevice): Promise<unknown> {
  return auth.request(admin, "device.revoke", { device_id });
}

describe("what ends a device", () => {
  test("revoked, all its principals end, with what they made, and is told after the answer", async () => {
    const device = await admitted({ scopes: ["chat.read", "chat.write"] });
    const whole = await enter(device);
    const part = await enter(device, ["chat.read"]);
    const { session_token } = await auth.request<{ session_token: string }>(part, "auth_session.create");
    const { ticket } = await auth.request<{ ticket: string }>(part, "ticket.create");
    const login = await auth.login({ kind: "session_token", token: session_token });
    expect(login).toMatchObject({ device: device.device_id, scopes: new Set(["chat.read"]) });
    const all = [whole, part, login];
    expect(all.map((each) => auth.credentials.isLive(each))).toEqual([true, true, true]);
    await revoke(device);
    expect(all.map((each) => auth.credentials.isLive(each))).toEqual([false, false, false]);
    expect(auth.revoked).toEqual([]);
    home.clock.advance(0);
    expect(auth.revoked).toEqual([device.device_id, login.credential ?? ""]);
    expect(await refusal(auth.login({ kind: "ticket", ticket }))).toMatchObject({ code: "UNAUTHORIZED" });
    expect(await refusal(auth.request(part, "auth_session.create"))).toMatchObject({ code: "UNAUTHORIZED" });
  });

  test("admitted again, it is another one: nothing of before counts, after a restart neither", async () => {
    const device = await admitted();
    const before = await enter(device);
    const { session_token } = await auth.request<{ session_token: string }>(before, "auth_session.create");
    await revoke(device);
    const { public_key } = device;
    await auth.request(admin, "device.register", { public_key, user: "ada", scopes: ["chat.read"] });
    expect(auth.credentials.isLive(before)).toBe(false);
    expect(auth.credentials.isLive(await enter(device))).toBe(true);
    await restart();
    expect(await enter(device)).toBeObject();
    const login = auth.login({ kind: "session_token", token: session_token });
    expect(await refusal(login)).toMatchObject({ code: "UNAUTHORIZED" });
  });
});

describe("what is kept", () => {
  test("a restart knows devices, their names and last uses, and the logins they made", async () => {
    const device = await admitted({ name: "Laptop", device_id: "laptop" });
    const by = await enter(device);
    const { session_token } = await auth.request<{ session_token: string }>(by, "auth_session.create");
    home.clock.advance(5_000);
    await enter(device);
    await auth.request(admin, "device.rename", { device_id: "laptop", name: "Old laptop" });
    const known = await devices();
    expect(known).toEqual([
      {
        device_id: "laptop",
        public_key: device.public_key,
        name: "Old laptop",
        user: "ada",
        scopes: ["chat.read"],
        created_at: home.clock.now() - 5_000,
        last_used_at: home.clock.now(),
      },
    ]);
    await restart();
    expect(await devices()).toEqual(known);
    expect(await auth.login({ kind: "session_token", token: session_token })).toMatchObject({
      user: "ada",
      device: "laptop",
    });
    await revoke({ ...device, device_id: "laptop" });
    await restart();
    expect(await devices()).toEqual([]);
  });

  test("a last use is written now and then, not with every connect", async () => {
    const device = await admitted();
    await auth.journal.drained();
    const written = (): number => home.store.committed.length;
    const before = written();
    for (let n = 0; n < 50; n++) await enter(device);
    await auth.journal.drained();
    expect(written() - before).toBe(1);
    home.clock.advance(60_000);
    await enter(device);
    await auth.journal.drained();
    expect(written() - before).toBe(2);
  });
});

describe("changes that meet", () => {
  test("a key and an id are taken once, also by two at once", async () => {
    const { public_key, device_id } = newDevice();
    const other = newDevice().public_key;
    home.store.hold();
    const register = (params: Record<string, unknown>): Promise<unknown> =>
      auth.request(admin, "device.register", { user: "ada", scopes: [], ...params });
    const first = register({ public_key, device_id: "kitchen" });
    const exists = { code: "CONFLICT", details: { kind: "exists" } };
    for (const params of [{ public_key }, { public_key: other, device_id: "kitchen" }]) {
      expect(await refusal(register(params))).toMatchObject(exists);
    }
    home.store.release();
    await first;
    for (const params of [
      { public_key },
      { public_key, device_id: "attic" },
      { public_key: other, device_id: "kitchen" },
      // Ids of other credentials, too.
      { public_key: other, device_id: admin.credential },
    ]) {
      expect(await refusal(register(params))).toMatchObject(exists);
    }
    // The id that another key has: that device could not come in.
    expect(await refusal(register({ public_key: other, device_id }))).toMatchObject({
      code: "INVALID_REQUEST",
      details: { path: "device_id" },
    });
    expect(await register({ public_key: other })).toBeObject();
  });

  test("what was refused by storage did not happen, and can be done again", async () => {
    const { public_key } = newDevice();
    const grant = { public_key, user: "ada", scopes: [] };
    home.store.refuse(true);
    expect(await refusal(auth.request(admin, "device.register", grant))).toMatchObject({
      code: "UNAVAILABLE",
    });
    expect(await devices()).toEqual([]);
    home.store.refuse(false);
    home.clock.advance(10_000);
    await until(() => auth.journal.refused === null);
    expect(await auth.request(admin, "device.register", grant)).toBeObject();
  });

  test("while one change of a device is written, another is told to wait, and a use undoes neither", async () => {
    const device = await admitted({ name: "before" });
    const { device_id } = device;
    home.store.hold();
    const renamed = auth.request(admin, "device.rename", { device_id, name: "after" });
    const busy = { code: "CONFLICT", retryable: true, details: { kind: "busy" } };
    expect(await refusal(revoke(device))).toMatchObject(busy);
    expect(await refusal(auth.request(admin, "device.rename", { device_id, name: "x" }))).toMatchObject(busy);
    await enter(device);
    home.store.release();
    expect(await renamed).toMatchObject({ name: "after" });
    await restart();
    expect(await devices()).toMatchObject([{ name: "after", last_used_at: home.clock.now() }]);
  });
});

describe("who grants what", () => {
  const grants: [string, Record<string, unknown>, string | null][] = [
    ["for oneself what one has", { user: "eve", scopes: ["chat.read", "devices.manage"] }, null],
    ["what one lacks", { user: "eve", scopes: ["chat.read", "system.read"] }, "system.read"],
    ["everything", { user: "eve", scopes: ["admin"] }, "chat.write"],
    ["for another user", { user: "ada", scopes: [] }, "admin"],
  ];
  test.each(grants)("%s", async (_what, grant, missing) => {
    const { token } = await auth.token({ user: "eve", scopes: ["chat.read", "devices.manage"] });
    const eve = await auth.login({ kind: "token", token });
    const work = auth.request(eve, "device.register", { public_key: newDevice().public_key, ...grant });
    if (missing === null) {
      expect(await work).toMatchObject(grant);
    } else {
      const refused = { code: "FORBIDDEN", details: { kind: "scope", scope: missing } };
      expect(await refusal(work)).toMatchObject(refused);
    }
  });

  test("for a user who is disabled, nothing", async () => {
    auth.credentials.users.disable("ada", "owner").commit();
    const grant = { public_key: newDevice().public_key, user: "ada", scopes: [] };
    const refused = { code: "CONFLICT", details: { kind: "state" } };
    expect(await refusal(auth.request(admin, "device.register", grant))).toMatchObject(refused);
  });

  test("admin means every scope, whichever is asked for", async () => {
    const device = await admitted({ scopes: ["admin"] });
    expect((await enter(device)).scopes).toEqual(admin.scopes);
    expect((await enter(device, ["admin"])).scopes).toEqual(admin.scopes);
    expect((await enter(device, ["system.read"])).scopes).toEqual(new Set(["system.read"]));
    const user = await admitted();
    expect((await enter(user, ["admin"])).scopes).toEqual(new Set(["chat.read"]));
  });

  test("an approval without a role and scopes grants nothing by itself", async () => {
    const refused = await refusal(auth.request(admin, "device.approve", { code: "AAAA-AAAA" }));
    expect(refused).toMatchObject({ code: "INVALID_REQUEST", details: { path: "scopes" } });
  });
});
