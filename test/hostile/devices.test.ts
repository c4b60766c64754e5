import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { TestDevice } from "../support/device.ts";
import { newDevice } from "../support/device.ts";
import type { Arena } from "./beside.ts";
import { ANY_RATE, crowd, openArena } from "./beside.ts";
import type { Proof, Prove } from "./raw-device.ts";
import { proveOver, proveOverRest } from "./raw-device.ts";

/** Proofs that are not of the device they name, or not for here and now. */

const ORIGIN = "https://app.example.com";
const CHALLENGE_MS = 1_500;
const FORGED = 2_000;
// Other addresses than 127.0.0.1 are there on Linux alone.
const here = process.platform === "linux";

let arena: Arena;
let device: TestDevice;
beforeAll(async () => {
  arena = await openArena({
    config: {
      server: { allowed_origins: [ORIGIN] },
      auth: { mode: "multi", modes: ["token", "device"] },
      limits: { ...ANY_RATE, challenge_ttl_ms: CHALLENGE_MS },
    },
  });
  device = await admitted();
});
afterAll(() => arena[Symbol.asyncDispose]());

async function admitted(): Promise<TestDevice> {
  const made = newDevice();
  const grant = { user: "owner", scopes: ["chat.read"] };
  await arena.call("device.register", { public_key: made.public_key, ...grant });
  return made;
}

const overSocket = async (prove: Prove, more: Proof = {}, origin?: string): Promise<string> =>
  (await proveOver(arena, prove, more, origin === undefined ? {} : { origin })).code;
const overRest = async (prove: Prove): Promise<string> => (await proveOverRest(arena, prove)).code;

/** Adds the order of the group to S: the same signature for whoever does not look. */
function malleable(signature: string): string {
  const bytes = Buffer.from(signature, "base64url");
  const order = Buffer.from("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010", "hex");
  let carry = 0;
  for (let i = 0; i < 32; i++) {
    const sum = (bytes[32 + i] ?? 0) + (order[i] ?? 0) + carry;
    bytes[32 + i] = sum & 255;
    carry = sum >> 8;
  }
  return bytes.toString("base64url");
}

describe.skipIf(!here)("a proof", () => {
  test("that is right comes in; said again, of another connection, and too late, it does not", () =>
    arena.beside(async () => {
      let first: Proof = {};
      const keep: Prove = (challenge) => (first = { ...device.prove(challenge) });
      expect(await overSocket(keep)).toBe("ok");
      expect(await overSocket(() => first)).toBe("UNAUTHORIZED");
      expect(await overRest(() => first)).toBe("UNAUTHORIZED");
      expect(await overRest(keep)).toBe("ok");
      expect(await overRest(() => first)).toBe("UNAUTHORIZED");
      expect(await overSocket(() => first)).toBe("UNAUTHORIZED");
      const { body: stale } = await arena.ask("POST", "/api/v1/challenges");
      await Bun.sleep(CHALLENGE_MS + 200);
      expect(await overRest(() => ({ ...device.prove(stale) }))).toBe("UNAUTHORIZED");
    }));

  test("for another server, origin, client, scopes, time, or of another version, does not", () =>
    arena.beside(async () => {
      const signed =
        (change: (text: string) => string): Prove =>
        (challenge) => {
          const proof = device.prove(challenge);
          const text = `agentbus-device-v1|${challenge.server_id}|${device.device_id}|cli|||${challenge.nonce}|${proof.timestamp}`;
          return { ...proof, signature: device.signText(change(text)) };
        };
      const wrong: [string, Prove, Proof?, string?][] = [
        ["another server", (challenge) => ({ ...device.prove({ ...challenge, server_id: "other" }) })],
        [
          "another origin",
          (challenge) => ({ ...device.prove({ ...challenge, origin: "https://evil.example" }) }),
        ],
        ["no origin, where there is one", (challenge) => ({ ...device.prove(challenge) }), {}, ORIGIN],
        ["another client", (challenge) => ({ ...device.prove(challenge) }), { client_id: "other" }],
        [
          "a client with the separator",
          (challenge) => ({ ...device.prove({ ...challenge, client_id: "a|b" }) }),
          { client_id: "a|b" },
        ],
        ["scopes that were not signed", (challenge) => ({ ...device.prove(challenge), scopes: ["admin"] })],
        [
          "fewer scopes than signed",
          (challenge) => ({ ...device.prove({ ...challenge, scopes: ["chat.read"] }), scopes: [] }),
        ],
        [
          "a scope twice",
          (challenge) => ({ ...device.prove({ ...challenge, scopes: ["chat.read", "chat.read"] }) }),
        ],
        [
          "an hour ago",
          (challenge) => ({ ...device.prove({ ...challenge, timestamp: Date.now() - 3_600_000 }) }),
        ],
        [
          "in an hour",
          (challenge) => ({ ...device.prove({ ...challenge, timestamp: Date.now() + 3_600_000 }) }),
        ],
        [
          "a time that was not signed",
          (challenge) => ({ ...device.prove(challenge), timestamp: Date.now() + 1 }),
        ],
        ["another version", signed((text) => text.replace("v1", "v0"))],
        ["no domain", signed((text) => text.slice(text.indexOf("|") + 1))],
        [
          "the nonce alone",
          (challenge) => ({ ...device.prove(challenge), signature: device.signText(challenge.nonce) }),
        ],
        [
          "another device's id",
          (challenge) => ({ ...newDevice().prove({ ...challenge, device_id: device.device_id }) }),
        ],
        [
          "another device's key",
          (challenge) => ({ ...newDevice().prove(challenge), public_key: device.public_key }),
        ],
      ];
      // The text is the one it is meant to be: unchanged, it is right.
      expect(await overSocket(signed((text) => text))).toBe("ok");
      for (const [what, prove, more, origin] of wrong) {
        const outcome = await overSocket(prove, more, origin);
        expect([what, ["UNAUTHORIZED", "INVALID_REQUEST"].includes(outcome) ? "no" : outcome]).toEqual([
          what,
          "no",
        ]);
      }
      expect((await arena.call("device.list")).pairing_requests).toEqual([]);
    }));

  test("with a key or a signature of another length, form or order does not, and such a key cannot be registered", () =>
    arena.beside(async () => {
      const zero = Buffer.alloc(32);
      const one = Buffer.from([1, ...Buffer.alloc(31)]);
      const keys: Buffer[] = [
        zero,
        one,
        Buffer.from(one).fill(0x80, 31),
        Buffer.from("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05", "hex"),
        Buffer.from("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a", "hex"),
        Buffer.from("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", "hex"),
        // The same points under another name: y + p.
        Buffer.from("edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", "hex"),
        Buffer.from("eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff", "hex"),
        Buffer.alloc(31, 1),
        Buffer.alloc(33, 1),
        Buffer.alloc(0),
        Buffer.alloc(4_096, 7),
      ];
      for (const key of keys) {
        const public_key = key.toString("base64url");
        const grant = { public_key, user: "owner", scopes: [] };
        await expect(arena.call("device.register", grant)).rejects.toThrow(/INVALID_REQUEST|TOO_LARGE/);
        // R and S of a small-order point fit every message where nobody looks.
        const signature = Buffer.concat([one, zero]).toString("base64url");
        const forged: Prove = (challenge) => ({
          ...device.prove(challenge),
          public_key,
          signature,
        });
        const id = new Bun.CryptoHasher("sha256").update(key).digest("hex");
        expect([
          public_key,
          await overSocket((challenge) => ({ ...forged(challenge), device_id: id })),
        ]).not.toEqual([public_key, "ok"]);
      }
      const signatures: [string, (right: string) => string][] = [
        ["empty", () => ""],
        ["a byte less", (right) => right.slice(0, -2)],
        ["a byte more", (right) => `${right}AA`],
        ["padded", (right) => `${right}==`],
        ["base64 of the other alphabet", (right) => Buffer.from(right, "base64url").toString("base64")],
        [
          "bits left over",
          (right) => right.slice(0, -1) + String.fromCharCode(right.charCodeAt(right.length - 1) + 1),
        ],
        ["blanks in it", (right) => `${right.slice(0, 40)}\n${right.slice(40)}`],
        ["S beyond the order", malleable],
        ["zeros", () => Buffer.alloc(64).toString("base64url")],
        ["ones", () => Buffer.alloc(64, 255).toString("base64url")],
        ["64 KiB", () => "A".repeat(6 * 1024)],
      ];
      for (const [what, change] of signatures) {
        const outcome = await overSocket((challenge) => {
          const proof = device.prove(challenge);
          return { ...proof, signature: change(proof.signature) };
        });
        expect([what, outcome]).not.toEqual([what, "ok"]);
      }
      expect((await arena.call("device.list")).pairing_requests).toEqual([]);
    }));
});

test.skipIf(!here)("forged signatures as fast as they come keep nobody waiting, the device least", () =>
  arena.beside(async () => {
    const outcomes = new Map<string, number>();
    const forged = device.signText("forged");
    let entered = 0;
    await crowd(FORGED, 32, async (i) => {
      // In between, the device itself.
      if (i % 100 === 0) {
        if ((await overSocket((challenge) => ({ ...device.prove(challenge) }))) === "ok") entered++;
        return;
      }
      const outcome = await overSocket((challenge) => ({ ...device.prove(challenge), signature: forged }));
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
    });
    expect(entered).toBe(FORGED / 100);
    for (const outcome of outcomes.keys()) expect(["UNAUTHORIZED", "RATE_LIMITED"]).toContain(outcome);
    const lines = arena.gateway.log.filter(({ msg }) => msg === "a login was refused");
    expect(lines.length).toBeLessThan(30);
  }),
);
