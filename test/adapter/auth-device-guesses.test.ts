import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { ADDRESS_RULE, GLOBAL_RULE } from "../../src/auth/throttle.ts";
import type { DeviceCredential } from "../../src/core/principal.ts";
import type { DeviceProof } from "../../src/protocol/api/device.ts";
import type { TestDevice } from "../support/device.ts";
import { deviceCredential, newDevice } from "../support/device.ts";
import type { Auth, Home } from "./auth.fixture.ts";
import { newHome, refusal, SERVER_ID, startAuth } from "./auth.fixture.ts";

let home: Home;
let auth: Auth;
let device: TestDevice;
beforeEach(async () => {
  home = await newHome();
  auth = await startAuth(home, { mode: "device" });
  device = newDevice();
  const admin = await auth.login({ kind: "token", token: auth.local.token });
  const { public_key } = device;
  await auth.request(admin, "device.register", { public_key, user: "ada", scopes: [] });
});
afterEach(() => home[Symbol.asyncDispose]());

function right(): Required<DeviceProof> {
  return device.prove({ server_id: SERVER_ID, nonce: "n", timestamp: home.clock.now() });
}

describe("forged signatures", () => {
  let spent: number;
  beforeEach(() => void (spent = 0));

  /** Signed by nobody, over a nonce of its own; that counts how far it came. */
  function forged(n: number, text = `forged ${n}`): DeviceCredential {
    const signature = device.signText(text);
    const spend = (): boolean => ++spent > 0;
    return deviceCredential({ ...right(), nonce: `nonce ${n}`, signature }, { spend });
  }

  test.each([undefined, "same"])("are guesses: ten of an address are looked at (%p)", async (text) => {
    const codes: string[] = [];
    for (let n = 0; n < 12; n++) codes.push((await refusal(auth.login(forged(n, text)))).code);
    expect(codes).toEqual([
      ...Array.from({ length: ADDRESS_RULE.burst }, () => "UNAUTHORIZED"),
      "RATE_LIMITED",
      "RATE_LIMITED",
    ]);
    expect(spent).toBe(ADDRESS_RULE.burst);
    expect(await refusal(auth.login(deviceCredential(right())))).toMatchObject({ code: "RATE_LIMITED" });
    expect(await auth.login({ kind: "token", token: auth.local.token })).toBeObject();
    expect(await auth.login(deviceCredential(right()), "10.0.0.1")).toBeObject();
  });

  test("of everywhere keep strangers waiting, not a device that was admitted", async () => {
    for (let n = 0; n < GLOBAL_RULE.burst; n++) {
      expect(await refusal(auth.login(forged(n), `10.0.1.${n}`))).toMatchObject({ code: "UNAUTHORIZED" });
    }
    const signing = { server_id: SERVER_ID, nonce: "n", timestamp: home.clock.now() };
    const stranger = deviceCredential(newDevice().prove(signing));
    expect(await refusal(auth.login(stranger, "10.0.2.1"))).toMatchObject({ code: "RATE_LIMITED" });
    expect(await auth.login(deviceCredential(right()), "10.0.2.1")).toBeObject();
    // Of one address no more is looked at than before.
    spent = 0;
    for (let n = 0; n < 20; n++) {
      expect(await refusal(auth.login(forged(n), "10.0.3.1"))).toMatchObject({ code: "RATE_LIMITED" });
    }
    expect(spent).toBe(ADDRESS_RULE.burst);
  });
});
