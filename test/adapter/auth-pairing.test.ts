import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { ADDRESS_RULE } from "../../src/auth/throttle.ts";
import type { DeviceCredential, Principal } from "../../src/core/principal.ts";
import type { TestDevice } from "../support/device.ts";
import { deviceCredential, newDevice } from "../support/device.ts";
import { until } from "../support/engine.ts";
import type { Auth, Home } from "./auth.fixture.ts";
import { newHome, refusal, SERVER_ID, startAuth } from "./auth.fixture.ts";

const TTL_MS = 600_000;

let home: Home;
let auth: Auth;
let admin: Principal;
beforeEach(async () => {
  home = await newHome();
  auth = await startAuth(home, {
    mode: "device",
    limits: { pairing_requests: 6, pairing_requests_per_address: 2 },
  });
  admin = await auth.login({ kind: "token", token: auth.local.token });
});
afterEach(() => home[Symbol.asyncDispose]());

function shows(device: TestDevice, more: Partial<DeviceCredential> = {}): DeviceCredential {
  const signing = { server_id: SERVER_ID, nonce: "n", timestamp: home.clock.now() };
  return deviceCredential(device.prove(signing), more);
}

/** What a device reads that comes. */
function told(device: TestDevice, remote = "10.0.0.1") {
  return refusal(auth.login(shows(device), remote));
}

async function code(device: TestDevice, remote?: string): Promise<string> {
  const { details } = await told(device, remote);
  expect(details).toMatchObject({ kind: "pairing" });
  return String(details?.["code"]);
}

function approve(shown: string, by = admin, more: Record<string, unknown> = {}): Promise<unknown> {
  return auth.request(by, "device.approve", { code: shown, role: "viewer", ...more });
}

async function open(): Promise<string[]> {
  const { pairing_requests } = await auth.request<{ pairing_requests: { device_id: string }[] }>(
    admin,
    "device.list",
  );
  return pairing_requests.map(({ device_id }) => device_id);
}

const NO_CODE = { code: "NOT_FOUND", details: { kind: "pairing" } };

describe("a request to be paired", () => {
  test("keeps its code until it ends; another device has another", async () => {
    const [one, other] = [newDevice(), newDevice()];
    const first = await code(one);
    expect(first).toMatch(/^[2-9A-HJ-NP-Z]{4}-[2-9A-HJ-NP-Z]{4}$/);
    expect(await code(other)).not.toBe(first);
    home.clock.advance(TTL_MS - 1);
    expect(await code(one, "10.9.9.9")).toBe(first);
    expect(await open()).toEqual([one.device_id, other.device_id]);
  });

  test("is only made by who has the private key", async () => {
    const device = newDevice();
    const proof = { ...shows(device).proof, signature: newDevice().signText("anything") };
    expect(await refusal(auth.login(deviceCredential(proof)))).toMatchObject({ code: "UNAUTHORIZED" });
    expect(await open()).toEqual([]);
  });

  test("approved, it admits at the next connect, and its code is used up", async () => {
    const device = newDevice();
    const shown = await code(device);
    expect(await approve(shown, admin, { user: "ada", name: "Laptop" })).toMatchObject({
      device_id: device.device_id,
      user: "ada",
      name: "Laptop",
      scopes: ["chat.read"],
    });
    expect(await refusal(approve(shown))).toMatchObject(NO_CODE);
    expect(await auth.login(shows(device))).toMatchObject({ user: "ada", method: "device" });
    expect(await open()).toEqual([]);
  });

  test("registered by its key meanwhile, it asks no more", async () => {
    const device = newDevice();
    const shown = await code(device);
    const { public_key } = device;
    await auth.request(admin, "device.register", { public_key, device_id: "pi", user: "ada", scopes: [] });
    expect(await open()).toEqual([]);
    expect(await refusal(approve(shown))).toMatchObject(NO_CODE);
    expect(await auth.login(shows(device))).toMatchObject({ credential: "pi" });
  });

  test("rejected, it is told so until it may ask again", async () => {
    const device = newDevice();
    const shown = await code(device);
    expect(await auth.request(admin, "device.reject", { code: shown })).toEqual({ rejected: true });
    expect(await refusal(approve(shown))).toMatchObject(NO_CODE);
    for (const wait of [0, TTL_MS - 1]) {
      home.clock.advance(wait);
      const details = { kind: "pairing_rejected" };
      expect(await told(device)).toMatchObject({ code: "FORBIDDEN", retryable: false, details });
    }
    home.clock.advance(1);
    expect(await code(device)).not.toBe(shown);
  });

  test("answered by nobody, it is told so once; then there is another code", async () => {
    const device = newDevice();
    const shown = await code(device);
    home.clock.advance(TTL_MS);
    expect(await open()).toEqual([]);
    expect(await refusal(approve(shown))).toMatchObject(NO_CODE);
    const details = { kind: "pairing_expired" };
    expect(await told(device)).toMatchObject({ code: "UNAUTHORIZED", retryable: false, details });
    expect(await code(device)).not.toBe(shown);
  });

  test("makes a stranger write nothing", async () => {
    await auth.journal.drained();
    const before = home.store.committed.length;
    for (let n = 0; n < 4; n++) await told(newDevice(), `10.0.${n}.1`);
    await auth.stop();
    const rows = home.store.committed.slice(before).flatMap((item) => ("rows" in item ? item.rows : []));
    expect(rows.filter((row) => row.kind === "record.put")).toEqual([]);
  });

  test("an approval that cannot be written leaves it as it was", async () => {
    const device = newDevice();
    const shown = await code(device);
    home.store.refuse(true);
    expect(await refusal(approve(shown))).toMatchObject({ code: "UNAVAILABLE" });
    home.store.refuse(false);
    expect(await code(device)).toBe(shown);
    home.clock.advance(10_000);
    await until(() => auth.journal.refused === null);
    expect(await approve(shown)).toMatchObject({ device_id: device.device_id });
  });

  test("two answers at once: one counts", async () => {
    const device = newDevice();
    const shown = await code(device);
    home.clock.advance(TTL_MS - 10_000);
    home.store.hold();
    const approved = approve(shown);
    expect(await refusal(approve(shown))).toMatchObject(NO_CODE);
    expect(await refusal(auth.request(admin, "device.reject", { code: shown }))).toMatchObject(NO_CODE);
    // Its time is over while the answer is being written.
    home.clock.advance(10_000);
    expect(await code(device)).toBe(shown);
    home.store.release();
    expect(await approved).toMatchObject({ device_id: device.device_id });
    expect(await auth.login(shows(device))).toMatchObject({ method: "device" });
  });
});

describe("bounds", () => {
  test("an address has two, all of them six; an answer and the end make room", async () => {
    const full = (what: string, limit: number) => ({
      code: "RATE_LIMITED",
      retry_after_ms: 30_000,
      details: { kind: "pairing", what, limit },
    });
    const first = await code(newDevice(), "2001:db8::1");
    const second = await code(newDevice(), "2001:db8::2");
    // The same /64.
    expect(await told(newDevice(), "2001:db8::3")).toMatchObject(full("pairing_requests_per_address", 2));
    await auth.request(admin, "device.reject", { code: first });
    await approve(second);
    for (let n = 0; n < 6; n++) await code(newDevice(), `10.0.${n}.1`);
    expect(await told(newDevice(), "2001:db8::3")).toMatchObject(full("pairing_requests", 6));
    home.clock.advance(TTL_MS);
    await code(newDevice(), "2001:db8::3");
  });

  test("who guesses codes has to wait, also with a right one; others have not", async () => {
    const { token } = await auth.token({ user: "eve", role: "operator" });
    const operator = await auth.login({ kind: "token", token });
    const shown = await code(newDevice());
    const codes: string[] = [];
    for (let n = 0; n < ADDRESS_RULE.burst + 1; n++) {
      codes.push((await refusal(approve(`AAAA-AAA${n % 10}`, operator))).code);
    }
    expect(codes).toEqual([...Array.from({ length: ADDRESS_RULE.burst }, () => "NOT_FOUND"), "RATE_LIMITED"]);
    const waits = { code: "RATE_LIMITED", details: { kind: "pairing" }, retry_after_ms: 1_000 };
    expect(await refusal(approve(shown, operator))).toMatchObject(waits);
    expect(await refusal(auth.request(operator, "device.reject", { code: shown }))).toMatchObject(waits);
    expect(await approve(shown)).toBeObject();
  });

  test("a code is taken as people write it, and as nothing else", async () => {
    const shown = await code(newDevice());
    for (const wrong of [shown.slice(1), `${shown}A`, "", "----", shown.replace(/./, "")]) {
      expect(["NOT_FOUND", "INVALID_REQUEST"]).toContain((await refusal(approve(wrong))).code);
    }
    expect(await approve(` ${shown.toLowerCase().replace("-", "")} `)).toBeObject();
  });
});

test("what a device calls itself is shown as text that can be read", async () => {
  const device = newDevice();
  const odd = { client_name: "a\ud800\0b", platform: "\udc00", client_id: "cli" };
  await refusal(auth.login(shows(device, odd), "10.0.0.1"));
  const { pairing_requests } = await auth.request<{ pairing_requests: unknown[] }>(admin, "device.list");
  expect(pairing_requests).toMatchObject([{ client_name: "a\ufffd\ufffdb", platform: "\ufffd" }]);
});
