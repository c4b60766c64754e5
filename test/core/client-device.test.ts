import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { createClient } from "../../src/client/client.ts";
import type { Client } from "../../src/client/client.ts";
import type { ClientOptions } from "../../src/client/options.ts";
import type { DeviceCredential, Pairing } from "../../src/client/device.ts";
import { deviceOf } from "../../src/client/device.ts";
import { ClientError } from "../../src/client/error.ts";
import type { StubGateway, StubRequest } from "../support/stub-gateway.ts";
import { startStub, until } from "../support/stub-gateway.ts";

const TS = 1_763_776_800_000;
const EXPIRES_IN_MS = 600_000;
const keys = await crypto.subtle.generateKey("Ed25519", false, ["sign", "verify"]);
const raw = new Uint8Array(await crypto.subtle.exportKey("raw", keys.publicKey));
const public_key = raw.toBase64({ alphabet: "base64url", omitPadding: true });
const device_id = new Bun.CryptoHasher("sha256").update(raw).digest("hex");

let stub: StubGateway;
let clients: Client[] = [];
let nonces = 0;

beforeEach(() => {
  stub = startStub();
  nonces = 0;
  stub.challenge = () => ({ nonce: `nonce-${++nonces}`, server_id: "srv", ts: TS });
});
afterEach(async () => {
  for (const client of clients) client.disconnect();
  clients = [];
  await stub.stop();
});

async function make(
  choices: Parameters<typeof deviceOf>[1] = {},
  options: Partial<ClientOptions> = {},
): Promise<Client> {
  const device = await deviceOf(keys, choices);
  const client = createClient({ url: stub.url, random: () => 0, client_id: "c1", device, ...options });
  clients.push(client);
  return client;
}

async function failure(promise: Promise<unknown>): Promise<ClientError> {
  const error = await promise.then(
    () => new Error("it succeeded"),
    (reason: unknown) => reason,
  );
  if (!(error instanceof ClientError)) throw error;
  return error;
}

function proofOf(peer: number): Record<string, unknown> {
  return stub.peers[peer]?.requests[0]?.params["device"] as Record<string, unknown>;
}

async function signs(proof: Record<string, unknown>, text: string): Promise<boolean> {
  const signature = Uint8Array.fromBase64(String(proof["signature"]), { alphabet: "base64url" });
  return crypto.subtle.verify("Ed25519", keys.publicKey, signature, new TextEncoder().encode(text));
}

/** Refuses as a gateway does that has not heard of the device. */
function pairing({ fail, peer }: StubRequest, code: string, retry_after_ms = 1): void {
  const details = { kind: "pairing", code, expires_at: TS + EXPIRES_IN_MS };
  fail({ code: "UNAUTHORIZED", message: "not paired yet", details, retryable: true, retry_after_ms });
  peer.close(4008);
}

describe("the proof of a device", () => {
  test("is what the challenge asks for, signed, and the only credential", async () => {
    const client = await make({ scopes: ["chat.write", "chat.read"] });
    await client.connect();
    expect(stub.offered).toEqual(["agentbus.v1.challenge"]);
    const proof = proofOf(0);
    expect(stub.peers[0]?.requests[0]?.params).toEqual({
      client_id: "c1",
      protocol: { min: 1, max: 1 },
      device: {
        device_id,
        public_key,
        signature: expect.stringMatching(/^[A-Za-z0-9_-]{86}$/) as string,
        nonce: "nonce-1",
        timestamp: TS,
        scopes: ["chat.read", "chat.write"],
      },
    });
    const fields = `srv|${device_id}|c1||chat.read,chat.write|nonce-1|${TS}`;
    expect(await signs(proof, `agentbus-device-v1|${fields}`)).toBe(true);
  });

  test("signs the origin of the page; without scopes it asks for all of them", async () => {
    const client = await make({ origin: "https://bus.example.com" });
    await client.connect();
    const text = `agentbus-device-v1|srv|${device_id}|c1|https://bus.example.com||nonce-1|${TS}`;
    expect(await signs(proofOf(0), text)).toBe(true);
    expect(proofOf(0)).not.toHaveProperty("scopes");
  });

  test("is made anew for every connection", async () => {
    const client = await make();
    await client.connect();
    stub.peers[0]?.drop();
    await until("connected again", () => client.state === "connected" && stub.peers.length === 2);
    expect(proofOf(1)["nonce"]).toBe("nonce-2");
    expect(await signs(proofOf(1), `agentbus-device-v1|srv|${device_id}|c1|||nonce-2|${TS}`)).toBe(true);
  });

  test("is made once per socket, whatever is asked", async () => {
    delete stub.answers["connect"];
    const signed: string[] = [];
    const device = await deviceOf(keys);
    const sign: DeviceCredential["sign"] = (text) => {
      signed.push(text);
      return device.sign(text);
    };
    const client = await make({}, { device: { ...device, sign } });
    const ended = failure(client.connect());
    await until("the greeting", () => stub.peers[0]?.requests.length === 1);
    stub.peers[0]?.event("connect.challenge", {}, { nonce: "again", server_id: "srv", ts: TS });
    stub.peers[0]?.event("heartbeat", {}, {});
    stub.peers[0]?.close(4008);
    await ended;
    expect([signed.length, stub.peers[0]?.requests.length]).toEqual([1, 1]);
  });

  test.each([
    { nonce: "a|b", server_id: "srv", ts: TS },
    { nonce: "n", server_id: "srv|x", ts: TS },
    { nonce: "n", ts: TS },
    { nonce: "n", server_id: "srv", ts: "1" },
  ])("nothing is signed that could be read in two ways: %p", async (challenge) => {
    stub.challenge = () => challenge;
    const client = await make();
    const error = await failure(client.connect());
    expect(error.message).toContain("cannot be signed");
    expect(stub.peers[0]?.requests).toEqual([]);
  });

  test("nothing is said to a gateway that asks for nothing", async () => {
    stub.challenge = null;
    const client = await make({}, { connect_timeout_ms: 30 });
    expect((await failure(client.connect())).code).toBe("UNREACHABLE");
    expect(stub.peers[0]?.requests).toEqual([]);
  });

  test("a key that does not sign ends it with its own reason", async () => {
    const device = { ...(await deviceOf(keys)), sign: () => Promise.reject(new Error("locked")) };
    const error = await failure((await make({}, { device })).connect());
    expect([error.code, error.message]).toEqual([
      "UNAUTHORIZED",
      "the device's key does not sign: Error: locked",
    ]);
  });

  test.each(["", "a|b"])("the client_id %p is none of a device", async (client_id) => {
    await expect(make({}, { client_id })).rejects.toThrow(TypeError);
  });
});

describe("a device that is not known yet", () => {
  test("tells its code once, asks again until it is approved, and goes on from there", async () => {
    const told: Pairing[] = [];
    stub.answers["app.echo"] = ({ ok, params }) => ok(params);
    const let_in = stub.answers["connect"];
    stub.answers["connect"] = (request) =>
      stub.peers.length < 4 ? pairing(request, "K7QF-2M9P") : let_in?.(request);
    const client = await make({ onPairing: (pairing) => told.push(pairing) });
    await client.connect();
    expect(told).toEqual([
      { code: "K7QF-2M9P", expires_at: TS + EXPIRES_IN_MS, expires_in_ms: EXPIRES_IN_MS },
    ]);
    expect(stub.peers.length).toBe(4);
    expect([0, 1, 2, 3].map((peer) => proofOf(peer)["nonce"])).toEqual([1, 2, 3, 4].map((n) => `nonce-${n}`));
    expect(await client.request<"app.echo">("app.echo", { n: 1 })).toEqual({ n: 1 });
  });

  test("tells a new code, as after a restart of a gateway that forgot the old one", async () => {
    const told: string[] = [];
    const let_in = stub.answers["connect"];
    stub.answers["connect"] = (request) =>
      stub.peers.length < 4 ? pairing(request, stub.peers.length < 3 ? "A" : "B") : let_in?.(request);
    await (await make({ onPairing: ({ code }) => told.push(code) })).connect();
    expect(told).toEqual(["A", "B"]);
  });

  test.each([
    ["FORBIDDEN", 4003],
    ["UNAUTHORIZED", 4001],
  ] as const)("%s is the end of it", async (code, close) => {
    stub.answers["connect"] = (request) => {
      if (stub.peers.length < 2) return pairing(request, "A");
      request.fail({ code, message: "somebody said no" });
      return request.peer.close(close);
    };
    const client = await make({ onPairing: () => undefined });
    const error = await failure(client.connect());
    expect([error.code, error.message, client.state]).toEqual([code, "somebody said no", "closed"]);
    expect(stub.peers.length).toBe(2);
  });

  test("waits through a gateway that is away", async () => {
    const let_in = stub.answers["connect"];
    stub.answers["connect"] = (request) => pairing(request, "A");
    const client = await make({ onPairing: () => void (stub.refusing = true) });
    let refused = 0;
    client.on("state", ({ state, error }) => {
      if (state !== "connecting" || error?.code !== "UNREACHABLE" || ++refused < 3) return;
      stub.answers["connect"] = let_in ?? (() => undefined);
      stub.refusing = false;
    });
    await client.connect();
    expect(refused).toBe(3);
  });

  test("but not longer than the request lives", async () => {
    stub.answers["connect"] = (request) => {
      const details = { kind: "pairing", code: "A", expires_at: TS + 20 };
      request.fail({ code: "UNAUTHORIZED", details, retryable: true, retry_after_ms: 1 });
      stub.refusing = true;
      request.peer.close(4008);
    };
    const client = await make({ onPairing: () => undefined });
    const error = await failure(client.connect());
    expect([error.code, error.details]).toEqual(["UNAUTHORIZED", { kind: "pairing_expired" }]);
  });

  test("is refused where nobody listens for the code, at first and when it comes back", async () => {
    const let_in = stub.answers["connect"];
    stub.answers["connect"] = (request) => pairing(request, "A");
    const first = await failure((await make()).connect());
    expect([first.code, first.details["kind"]]).toEqual(["UNAUTHORIZED", "pairing"]);
    stub.answers["connect"] = let_in ?? (() => undefined);
    const client = await make();
    await client.connect();
    stub.answers["connect"] = (request) => pairing(request, "A");
    stub.peers[1]?.drop();
    await until("the end", () => client.state === "closed");
    expect(stub.peers.length).toBe(3);
  });

  test("is refused where the code is none a person could compare", async () => {
    stub.answers["connect"] = (request) => pairing(request, "A".repeat(65));
    const told: string[] = [];
    const error = await failure((await make({ onPairing: ({ code }) => told.push(code) })).connect());
    expect([error.code, told]).toEqual(["UNAUTHORIZED", []]);
  });

  test("stops asking when it is told to, even while it is told the code", async () => {
    stub.answers["connect"] = (request) => pairing(request, "A");
    const client = await make({ onPairing: () => client.disconnect() });
    expect((await failure(client.connect())).code).toBe("ABORTED");
    const late = await make({ onPairing: () => undefined });
    const ended = failure(late.connect());
    await until("asked twice", () => stub.peers.length === 3);
    late.disconnect();
    expect((await ended).code).toBe("ABORTED");
    const asked = stub.peers.length;
    await Bun.sleep(150);
    expect(stub.peers.length).toBe(asked);
  });
});
