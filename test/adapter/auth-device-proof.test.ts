import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { createPublicKey, verify } from "node:crypto";
import type { DeviceCredential } from "../../src/core/principal.ts";
import type { DeviceProof } from "../../src/protocol/api/device.ts";
import type { Signing, TestDevice } from "../support/device.ts";
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
  await admit(device);
});
afterEach(() => home[Symbol.asyncDispose]());

async function admit({ public_key }: TestDevice): Promise<void> {
  const admin = await auth.login({ kind: "token", token: auth.local.token });
  const grant = { public_key, user: "ada", scopes: ["chat.read", "chat.write"] };
  await auth.request(admin, "device.register", grant);
}

function right(more: Partial<Signing> = {}): Required<DeviceProof> {
  return device.prove({ server_id: SERVER_ID, nonce: "n", timestamp: home.clock.now(), ...more });
}

/** The message a credential is refused with, as a wrong one. */
async function refused(credential: DeviceCredential, remote?: string): Promise<string> {
  const { code, message } = await refusal(auth.login(credential, remote));
  expect(code).toBe("UNAUTHORIZED");
  return message;
}

const ORDER = 2n ** 252n + 27_742_317_777_372_353_535_851_937_790_883_648_493n;
const PRIME = 2n ** 255n - 19n;

function littleEndian(value: bigint): Buffer {
  return Buffer.from(value.toString(16).padStart(64, "0"), "hex").reverse();
}

function readLittleEndian(bytes: Buffer): bigint {
  return BigInt(`0x${Buffer.from(bytes).reverse().toString("hex")}`);
}

describe("what is signed", () => {
  test("right in everything, it admits its user with what was granted", async () => {
    expect(await auth.login(deviceCredential(right()))).toEqual({
      user: "ada",
      scopes: new Set(["chat.read", "chat.write"]),
      method: "device",
      credential: device.device_id,
      expires_at: null,
    });
    const asked = right({ scopes: ["tools.approve", "chat.read"], origin: "https://app.example.com" });
    const credential = deviceCredential(asked, { origin: "https://app.example.com" });
    expect((await auth.login(credential)).scopes).toEqual(new Set(["chat.read"]));
  });

  const changes: [string, Partial<Signing>, Partial<DeviceProof>, Partial<DeviceCredential>][] = [
    ["another server", { server_id: "srv_2" }, {}, {}],
    ["another client_id", {}, {}, { client_id: "cli2" }],
    ["an origin that was not signed", {}, {}, { origin: "https://app.example.com" }],
    ["no origin where one was signed", { origin: "https://app.example.com" }, {}, {}],
    ["more scopes than signed", { scopes: ["chat.read"] }, { scopes: ["chat.read", "chat.write"] }, {}],
    ["all scopes where some were signed", { scopes: ["chat.read"] }, { scopes: [] }, {}],
    ["some scopes where all were signed", {}, { scopes: ["chat.read"] }, {}],
    ["another nonce", {}, { nonce: "m" }, {}],
    ["another time", {}, { timestamp: 1_763_776_800_001 }, {}],
  ];
  test.each(changes)("%s is another text", async (_what, signing, proof, credential) => {
    expect(await refused(deviceCredential({ ...right(signing), ...proof }, credential))).toContain(
      "device.signature is wrong",
    );
  });

  test("it is this one text: not a version, domain or order of its own", async () => {
    const { nonce, timestamp, ...proof } = right();
    const tail = `${SERVER_ID}|${device.device_id}|cli|||${nonce}|${timestamp}`;
    const texts = [
      `agentbus-device-v2|${tail}`,
      `agentbus-device-v1|${tail}\n`,
      tail,
      ` agentbus-device-v1|${tail}`,
    ];
    for (const text of texts) {
      const signature = device.signText(text);
      expect([text, await refused(deviceCredential({ ...proof, nonce, timestamp, signature }))]).toEqual([
        text,
        expect.stringContaining("device.signature is wrong"),
      ]);
    }
    const signature = device.signText(`agentbus-device-v1|${tail}`);
    expect(await auth.login(deviceCredential({ ...proof, nonce, timestamp, signature }))).toBeObject();
  });

  test("a client_id is needed, and cannot move the fields", async () => {
    for (const client_id of ["", "cli|https://evil.example", "x".repeat(129)]) {
      expect(await refused(deviceCredential(right({ client_id }), { client_id }))).toContain("client_id");
    }
  });

  test("scopes are said once, and are words", async () => {
    for (const scopes of [["chat.read", "chat.read"], ["chat.read,admin"], ["a|b"], [""], ["CHAT.READ"]]) {
      expect(await refused(deviceCredential(right({ scopes })))).toContain("device.scopes");
    }
  });

  test("the nonce is spent by being shown, and has to be one that was given", async () => {
    const shown: string[] = [];
    const spend = (nonce: string): boolean => shown.push(nonce) === 1;
    expect(await auth.login(deviceCredential(right(), { spend }))).toBeObject();
    expect(await refused(deviceCredential(right(), { spend }))).toContain("device.nonce");
    const forged = { ...right(), signature: device.signText("something else") };
    shown.length = 0;
    expect(await refused(deviceCredential(forged, { spend }))).toContain("device.signature is wrong");
    expect(await refused(deviceCredential(right(), { spend }))).toContain("device.nonce");
    expect(shown).toEqual(["n", "n"]);
  });

  test("the time is within a minute of ours", async () => {
    const now = home.clock.now();
    for (const off of [-60_000, 60_000]) {
      expect(await auth.login(deviceCredential(right({ timestamp: now + off })))).toBeObject();
    }
    for (const off of [-60_001, 60_001, -now]) {
      expect(await refused(deviceCredential(right({ timestamp: now + off })))).toContain("device.timestamp");
    }
  });
});

describe("keys and signatures", () => {
  const text32 = (change: (text: string) => string) => change(right().public_key);
  const text64 = (change: (text: string) => string) => change(right().signature);
  /** The same bytes, where a decoder ignores the bits that are left over. */
  const twin = (text: string): string => {
    const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    return text.slice(0, -1) + alphabet.charAt(alphabet.indexOf(text.slice(-1)) + 1);
  };
  const forms: [string, (text: string) => string][] = [
    ["nothing", () => ""],
    ["a character less", (text) => text.slice(1)],
    ["a character more", (text) => `${text}A`],
    [
      "a byte more",
      (text) => Buffer.concat([Buffer.from(text, "base64url"), Buffer.alloc(1)]).toString("base64url"),
    ],
    ["a byte less", (text) => Buffer.from(text, "base64url").subarray(1).toString("base64url")],
    ["padding", (text) => text + "=".repeat((4 - (text.length % 4)) % 4)],
    ["bits left over", twin],
    ["a space", (text) => ` ${text.slice(1)}`],
    ["what is no base64", (text) => `*${text.slice(1)}`],
    ["the other alphabet", (text) => `+/${text.slice(2)}`],
    ["hex", (text) => Buffer.from(text, "base64url").toString("hex")],
  ];
  test.each(forms)("%s in the key is refused", async (_what, change) => {
    expect(await refused(deviceCredential({ ...right(), public_key: text32(change) }))).toContain(
      "public_key",
    );
  });
  test.each(forms)("%s in the signature is refused", async (_what, change) => {
    expect(await refused(deviceCredential({ ...right(), signature: text64(change) }))).toContain("signature");
  });

  test("what is missing is named, and so is what is not there at all", async () => {
    for (const field of ["device_id", "public_key", "signature", "nonce", "timestamp"] as const) {
      const { [field]: _left_out, ...proof } = right();
      expect(await refused(deviceCredential(proof))).toContain(field);
    }
    expect(await refused(deviceCredential({}))).toContain("device_id");
  });

  test("S of a signature is below the order of the group: S + L would be a second one", async () => {
    const proof = right();
    const bytes = Buffer.from(proof.signature, "base64url");
    const s = readLittleEndian(bytes.subarray(32));
    for (const other of [s + ORDER, s + 2n * ORDER, s + 2n ** 255n]) {
      const signature = Buffer.concat([bytes.subarray(0, 32), littleEndian(other)]).toString("base64url");
      expect(await refused(deviceCredential({ ...proof, signature }))).toContain("device.signature is wrong");
    }
    expect(await auth.login(deviceCredential(proof))).toBeObject();
  });

  test("every bit of a signature counts", async () => {
    const proof = right();
    const bytes = Buffer.from(proof.signature, "base64url");
    for (let bit = 0; bit < 512; bit += 7) {
      const other = Buffer.from(bytes);
      other[bit >> 3] = (other[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      // From other addresses each, so that all are looked at.
      const credential = deviceCredential({ ...proof, signature: other.toString("base64url") });
      expect(await refused(credential, `10.0.0.${bit >> 1}`)).toContain("device.signature is wrong");
    }
  });

  /** y of the eight points of small order, in both forms where there are two, with either sign of x. */
  const small = [
    0n,
    1n,
    PRIME - 1n,
    PRIME,
    PRIME + 1n,
    readLittleEndian(Buffer.from("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05", "hex")),
    readLittleEndian(Buffer.from("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a", "hex")),
  ].flatMap((y) => [littleEndian(y), littleEndian(y + 2n ** 255n)]);

  test("a key of small order, for which anybody can sign, is none", async () => {
    const admin = await auth.login({ kind: "token", token: auth.local.token });
    let forged = 0;
    for (const [index, key] of small.entries()) {
      const public_key = key.toString("base64url");
      const device_id = new Bun.CryptoHasher("sha256").update(key).digest("hex");
      const spki = Buffer.concat([Buffer.from("302a300506032b6570032100", "hex"), key]);
      const imported = createPublicKey({ key: spki, format: "der", type: "spki" });
      for (let n = 0; n < 24; n++) {
        // R is the neutral element and S is 0: it holds wherever the hash times the key is neutral, too.
        const signature = Buffer.concat([littleEndian(1n), Buffer.alloc(32)]);
        const timestamp = home.clock.now() + n;
        const text = `agentbus-device-v1|${SERVER_ID}|${device_id}|cli|||n|${timestamp}`;
        if (verify(null, Buffer.from(text), imported, signature)) forged++;
        const proof = {
          device_id,
          public_key,
          signature: signature.toString("base64url"),
          nonce: "n",
          timestamp,
        };
        expect(await refused(deviceCredential(proof), `10.1.${index}.${n}`)).toContain("public_key");
      }
      const grant = { public_key, user: "ada", scopes: [] };
      expect(await refusal(auth.request(admin, "device.register", grant))).toMatchObject({
        code: "INVALID_REQUEST",
        details: { path: "public_key" },
      });
    }
    // The primitive takes them: without a look at the key some of these would have asked to be paired.
    expect(forged).toBeGreaterThan(20);
  });

  test("a key has one form: y is below the prime", async () => {
    for (let y = PRIME; y < 2n ** 255n; y++) {
      for (const sign of [0n, 2n ** 255n]) {
        const public_key = littleEndian(y + sign).toString("base64url");
        expect(await refused(deviceCredential({ ...right(), public_key }))).toContain("public_key");
      }
    }
  });

  test("what is on no curve is refused, never thrown", async () => {
    for (let y = 2n; y < 12n; y++) {
      const key = littleEndian(y);
      const device_id = new Bun.CryptoHasher("sha256").update(key).digest("hex");
      const proof = { ...right(), device_id, public_key: key.toString("base64url") };
      expect(await refused(deviceCredential(proof), `10.2.0.${y}`)).toContain("device.signature is wrong");
    }
  });

  test("an id belongs to its key: another one's, and one that was chosen for another, are refused", async () => {
    const other = newDevice();
    const signing = { server_id: SERVER_ID, nonce: "n", timestamp: home.clock.now() };
    for (const device_id of [device.device_id, "kitchen", other.device_id.toUpperCase()]) {
      expect(await refused(deviceCredential(other.prove({ ...signing, device_id })))).toContain("device_id");
    }
  });

  test("a known key under an id that is not its own is refused", async () => {
    for (const device_id of ["kitchen", newDevice().device_id, device.device_id.toUpperCase()]) {
      expect(await refused(deviceCredential(right({ device_id })))).toContain("device_id");
    }
  });

  test("a public key is no secret: shown as a token it admits nobody", async () => {
    for (const token of [device.public_key, Buffer.from(device.public_key, "base64url").toString("latin1")]) {
      expect(await refusal(auth.login({ kind: "token", token }))).toMatchObject({ code: "UNAUTHORIZED" });
    }
  });
});
