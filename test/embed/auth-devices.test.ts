import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { AuthResult } from "../../src/embed/auth.ts";
import { newDevice } from "../support/device.ts";
import type { Embedded } from "./embed.fixture.ts";
import { embed } from "./embed.fixture.ts";

let it: Embedded;
beforeAll(async () => {
  it = await embed({ auth: { mode: "device" } });
});
afterAll(() => it[Symbol.asyncDispose]());

const refusal = (result: AuthResult) => [result.success, result.reason];

describe("devices", () => {
  const clientId = "phone";

  test("one that is registered signs a challenge and is let in, once for each", async () => {
    const { auth } = it.gateway;
    const device = newDevice();
    expect(
      await auth.registerDevice({ publicKey: device.public_key, userId: "ann", role: "user", name: "Phone" }),
    ).toEqual({
      success: true,
      userId: "ann",
      method: "device",
      scopes: ["chat.read", "chat.write", "tools.approve", "sessions.manage"],
      deviceId: device.device_id,
    });
    const { nonce, serverId, timestamp, expiresAt } = auth.challenge();
    expect(expiresAt).toBeGreaterThan(timestamp);
    const { signature } = device.prove({
      server_id: serverId,
      nonce,
      client_id: clientId,
      timestamp,
      scopes: ["chat.read"],
    });
    const prove = () =>
      auth.authenticateDevice(device.device_id, signature, nonce, timestamp, {
        clientId,
        scopes: ["chat.read"],
      });
    expect(await prove()).toEqual({
      success: true,
      userId: "ann",
      method: "device",
      scopes: ["chat.read"],
      deviceId: device.device_id,
    });
    expect(await prove()).toMatchObject({
      success: false,
      reason: "UNAUTHORIZED",
      message: expect.stringContaining("nonce"),
    });
  });

  test("what is signed is what counts", async () => {
    const { auth } = it.gateway;
    const device = newDevice();
    await auth.registerDevice({ publicKey: device.public_key, userId: "ann" });
    const cases = [
      { said: { clientId: "other" } },
      { said: { clientId, origin: "https://evil.example" } },
      { said: { clientId, scopes: ["admin"] } },
      { said: { clientId }, late: -120_000 },
      { said: { clientId }, signature: "no signature" },
      { said: { clientId }, nonce: "made-up" },
    ];
    for (const [i, { said, late = 0, signature, nonce }] of cases.entries()) {
      const challenge = auth.challenge({ remote: `198.51.100.${i}` });
      const timestamp = challenge.timestamp + late;
      const proof = device.prove({
        server_id: challenge.serverId,
        nonce: challenge.nonce,
        client_id: clientId,
        timestamp,
      });
      const result = await auth.authenticateDevice(
        device.device_id,
        signature ?? proof.signature,
        nonce ?? challenge.nonce,
        timestamp,
        { ...said, remote: `198.51.100.${i}` },
      );
      expect([i, ...refusal(result)]).toEqual([i, false, "UNAUTHORIZED"]);
    }
  });

  test("one that nobody knows is refused, and asks to be paired where it shows its key", async () => {
    const { auth } = it.gateway;
    const device = newDevice();
    const attempt = (publicKey?: string) => {
      const { nonce, serverId, timestamp } = auth.challenge({ remote: "198.51.100.50" });
      const { signature } = device.prove({ server_id: serverId, nonce, client_id: clientId, timestamp });
      const signed = { clientId, remote: "198.51.100.50", ...(publicKey !== undefined && { publicKey }) };
      return auth.authenticateDevice(device.device_id, signature, nonce, timestamp, signed);
    };
    expect(refusal(await attempt())).toEqual([false, "UNAUTHORIZED"]);
    expect(await attempt(device.public_key)).toMatchObject({
      success: false,
      details: { kind: "pairing", code: expect.any(String) },
    });
  });

  test("a key that is none and a twin are answers", async () => {
    const { auth } = it.gateway;
    const { public_key: publicKey } = newDevice();
    expect(refusal(await auth.registerDevice({ publicKey: "none", userId: "ann" }))).toEqual([
      false,
      "INVALID_REQUEST",
    ]);
    expect((await auth.registerDevice({ publicKey, userId: "ann" })).success).toBe(true);
    expect(refusal(await auth.registerDevice({ publicKey, userId: "ann" }))).toEqual([false, "CONFLICT"]);
  });

  test("challenges are bounded by where they are asked from", () => {
    const { auth } = it.gateway;
    const many = (): void => {
      for (let i = 0; i < 65; i++) auth.challenge({ remote: "198.51.100.99" });
    };
    expect(many).toThrow("too many challenges are out");
  });
});
