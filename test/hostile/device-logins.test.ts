import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { DeviceProof } from "../../src/protocol/api/device.ts";
import type { Signing, TestDevice } from "../support/device.ts";
import { newDevice } from "../support/device.ts";
import type { TestSocket } from "../support/ws-client.ts";
import { openSocket, RefusedRequest } from "../support/ws-client.ts";
import type { Answer, Arena } from "./beside.ts";
import { ANY_RATE, crowd, openArena } from "./beside.ts";

/** Proofs over each transport, from addresses that a proxy names: what is none, what is said again, what nobody signed. */

const ORIGIN = "https://app.example.com";
const TTL_MS = 1_000;
const FORGED = 3_000;

let arena: Arena;
let device: TestDevice;
beforeAll(async () => {
  const limits = {
    ...ANY_RATE,
    challenge_ttl_ms: TTL_MS,
    challenges: 1_000,
  };
  // So that whoever attacks can be at any address.
  const server = { allowed_origins: [ORIGIN], trusted_proxies: ["127.0.0.1"] };
  arena = await openArena({ config: { auth: { mode: "device" }, server, limits } });
  device = newDevice();
  const { public_key } = device;
  await arena.call("device.register", { public_key, user: "owner", scopes: ["chat.read", "chat.write"] });
});
afterAll(() => arena[Symbol.asyncDispose]());

let addresses = 0;
/** An address nobody had before. */
function elsewhere(): Record<string, string> {
  addresses++;
  return { "x-forwarded-for": `10.${addresses >> 16}.${(addresses >> 8) & 255}.${addresses & 255}` };
}

interface Challenge {
  readonly nonce: string;
  readonly server_id: string;
}

async function open(
  headers: Record<string, string> = {},
): Promise<{ socket: TestSocket; challenge: Challenge }> {
  const socket = await openSocket(arena.gateway.ws_url, { headers: { ...elsewhere(), ...headers } });
  const { json } = await socket.nextEvent("connect.challenge");
  return { socket, challenge: json.payload };
}

/** "in", or the error's code with its kind. */
async function connect(socket: TestSocket, proof: unknown, client_id = "cli"): Promise<string> {
  try {
    await socket.request("connect", { client_id, device: proof });
    return "in";
  } catch (error) {
    if (!(error instanceof RefusedRequest)) throw error;
    return [error.code, error.details?.["kind"]].filter(Boolean).join(" ");
  } finally {
    socket.close();
  }
}

async function challengeOverRest(headers = elsewhere()): Promise<Challenge> {
  return (await arena.ask("POST", "/api/v1/challenges", { headers })).body;
}

function login(proof: unknown, headers: Record<string, string>, client_id = "cli"): Promise<Answer> {
  return arena.ask("POST", "/api/v1/auth_sessions", { headers, body: { client_id, device: proof } });
}

function prove(challenge: Challenge, more: Partial<Signing> = {}): Required<DeviceProof> {
  return device.prove({ ...challenge, ...more });
}

describe("a proof", () => {
  test("that was made for something else is good for nothing", () =>
    arena.beside(async () => {
      const changes: [string, Partial<Signing>, Partial<DeviceProof>, Record<string, string>][] = [
        ["another server", { server_id: "somebody-else" }, {}, {}],
        ["another nonce", { nonce: "x".repeat(43) }, {}, {}],
        ["another origin", {}, {}, { origin: ORIGIN }],
        ["no origin", { origin: ORIGIN }, {}, {}],
        ["other scopes", { scopes: ["chat.read"] }, { scopes: ["chat.read", "chat.write"] }, {}],
        ["all scopes", { scopes: ["chat.read"] }, { scopes: [] }, {}],
        ["another client", { client_id: "other" }, {}, {}],
        ["an hour ago", { timestamp: Date.now() - 3_600_000 }, {}, {}],
      ];
      for (const [what, signing, proof, headers] of changes) {
        const { socket, challenge } = await open(headers);
        const shown = { ...prove(challenge, signing), ...proof };
        expect([what, await connect(socket, shown)]).toEqual([what, "UNAUTHORIZED"]);
        const asked = { ...elsewhere(), ...headers };
        const rest = { ...prove(await challengeOverRest(asked), signing), ...proof };
        expect([what, (await login(rest, asked)).status]).toEqual([what, 401]);
      }
      const { socket, challenge } = await open();
      expect(await connect(socket, prove(challenge))).toBe("in");
    }));

  test("counts once, where its nonce was given, and in time", () =>
    arena.beside(async () => {
      const [one, other] = [await open(), await open()];
      const proof = prove(one.challenge);
      expect(await connect(other.socket, proof)).toBe("UNAUTHORIZED");
      await one.socket.request("connect", { client_id: "cli", device: proof });
      expect(await connect(one.socket, proof)).toBe("CONFLICT state");
      const rest = prove(await challengeOverRest());
      expect((await login(rest, elsewhere())).status).toBe(201);
      expect((await login(rest, elsewhere())).status).toBe(401);
      const [late, stale] = [await open(), await challengeOverRest()];
      await Bun.sleep(TTL_MS + 50);
      expect(await connect(late.socket, prove(late.challenge))).toBe("UNAUTHORIZED");
      expect((await login(prove(stale), elsewhere())).status).toBe(401);
    }));

  test("whose key or signature is none is refused, over each transport", () =>
    arena.beside(async () => {
      const flip = (text: string): string => {
        const bytes = Buffer.from(text, "base64url");
        bytes[0] = (bytes[0] ?? 0) ^ 1;
        return bytes.toString("base64url");
      };
      const bytes = (hex: string): string => Buffer.from(hex, "hex").toString("base64url");
      const keys = [
        "",
        "AAAA",
        "A".repeat(42),
        "A".repeat(44),
        "A".repeat(256),
        `${"A".repeat(42)}B`,
        `${"A".repeat(42)}=`,
        // Of small order, and in a second form.
        bytes("01".padEnd(64, "0")),
        bytes("00".repeat(32)),
        bytes(`${"00".repeat(31)}80`),
        bytes(`ec${"ff".repeat(30)}7f`),
        bytes("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
        bytes("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
        bytes(`ed${"ff".repeat(30)}7f`),
        bytes("ff".repeat(32)),
      ];
      const right = prove(await challengeOverRest());
      const signatures = ["", "AAAA", "A".repeat(85), "A".repeat(86), "A".repeat(87), flip(right.signature)];
      const odd: Partial<DeviceProof>[] = [
        ...keys.flatMap((public_key) => {
          const key = Buffer.from(public_key, "base64url");
          const device_id = new Bun.CryptoHasher("sha256").update(key).digest("hex");
          return [{ public_key }, { public_key, device_id, signature: bytes("01".padEnd(128, "0")) }];
        }),
        ...signatures.map((signature) => ({ signature })),
        { device_id: newDevice().device_id },
        { device_id: "" },
        { device_id: "__proto__" },
      ];
      for (const change of odd) {
        const { socket, challenge } = await open();
        expect([change, await connect(socket, { ...prove(challenge), ...change })]).toEqual([
          change,
          "UNAUTHORIZED",
        ]);
        const asked = elsewhere();
        const proof = { ...prove(await challengeOverRest(asked)), ...change };
        expect([change, (await login(proof, asked)).status]).toEqual([change, 401]);
      }
      for (const wrong of [
        null,
        [],
        "x",
        1,
        { timestamp: "now" },
        { scopes: "chat.read" },
        { public_key: {} },
      ]) {
        const { socket } = await open();
        expect([wrong, await connect(socket, wrong)]).toEqual([wrong, "INVALID_REQUEST schema"]);
        expect([wrong, (await login(wrong, elsewhere())).status]).toEqual([wrong, 422]);
      }
    }));
});

test("signatures by nobody, as fast as they can be sent and each from another address, slow nobody down", () =>
  arena.beside(async () => {
    const statuses = new Map<number, number>();
    await crowd(FORGED, 32, async (index) => {
      const asked = elsewhere();
      const proof = prove(await challengeOverRest(asked));
      const { status } = await login({ ...proof, signature: device.signText(`forged ${index}`) }, asked);
      statuses.set(status, (statuses.get(status) ?? 0) + 1);
    });
    // About a hundred at once and then one a second read what is wrong; the others are told to wait.
    expect([...statuses.keys()].toSorted()).toEqual([401, 429]);
    expect(statuses.get(401)).toBeLessThan(300);
    // The device they pretend to be comes in meanwhile, from where nobody guessed.
    const { socket, challenge } = await open();
    expect(await connect(socket, prove(challenge))).toBe("in");
    // From one address they are not even looked at.
    const asked = elsewhere();
    for (let index = 0; index < 10; index++) {
      const proof = prove(await challengeOverRest());
      const { status } = await login({ ...proof, signature: device.signText(`forged ${index}`) }, asked);
      expect([401, 429]).toContain(status);
    }
    const nonce = await challengeOverRest();
    expect((await login(prove(nonce), asked)).status).toBe(429);
    // So its nonce was not used up.
    expect((await login(prove(nonce), elsewhere())).status).toBe(201);
  }));

test("challenges that nobody signs fill a table of their own, and end", () =>
  arena.beside(async () => {
    const statuses = new Set<number>();
    const flood = elsewhere();
    await crowd(4_000, 32, async (index) => {
      const headers = index % 2 === 0 ? flood : elsewhere();
      statuses.add((await arena.ask("POST", "/api/v1/challenges", { headers })).status);
    });
    expect(statuses).toEqual(new Set([200, 429]));
    // Sockets have their own.
    const { socket, challenge } = await open();
    expect(await connect(socket, prove(challenge))).toBe("in");
    await Bun.sleep(TTL_MS + 50);
    expect((await login(prove(await challengeOverRest()), elsewhere())).status).toBe(201);
  }));
