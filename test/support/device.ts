import type { KeyObject } from "node:crypto";
import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, sign } from "node:crypto";
import type { DeviceCredential } from "../../src/core/principal.ts";
import type { DeviceProof } from "../../src/protocol/api/device.ts";
import type { TestSocket } from "./ws-client.ts";
import { openSocket, RefusedRequest } from "./ws-client.ts";

/** What a proof is made over. Each part can be another one than what is sent. */
export interface Signing {
  readonly server_id: string;
  readonly nonce: string;
  readonly client_id?: string;
  readonly origin?: string;
  readonly scopes?: readonly string[];
  readonly timestamp?: number;
  /** Default: the hash of the key. */
  readonly device_id?: string;
}

/** A device with a key of its own: written by the specification, not with the gateway's code. */
export interface TestDevice {
  readonly device_id: string;
  readonly public_key: string;
  /** A whole proof, right unless told otherwise. */
  prove(signing: Signing): Required<DeviceProof>;
  signText(text: string): string;
}

export function newDevice(): TestDevice {
  return deviceOf(generateKeyPairSync("ed25519").privateKey);
}

/** @param seed the private key, 32 bytes in base64url */
export function deviceFromKey(seed: string): TestDevice {
  const pkcs8 = Buffer.concat([
    Buffer.from("302e020100300506032b657004220420", "hex"),
    Buffer.from(seed, "base64url"),
  ]);
  return deviceOf(createPrivateKey({ key: pkcs8, format: "der", type: "pkcs8" }));
}

function deviceOf(privateKey: KeyObject): TestDevice {
  const { x: public_key = "" } = createPublicKey(privateKey).export({ format: "jwk" });
  const device_id = createHash("sha256").update(Buffer.from(public_key, "base64url")).digest("hex");
  const signText = (text: string): string => sign(null, Buffer.from(text), privateKey).toString("base64url");
  return {
    device_id,
    public_key,
    signText,
    prove(signing) {
      const {
        server_id,
        nonce,
        client_id = "cli",
        origin = "",
        scopes = [],
        timestamp = Date.now(),
      } = signing;
      const named = signing.device_id ?? device_id;
      const text = `agentbus-device-v1|${server_id}|${device_id}|${client_id}|${origin}|${[...scopes].sort().join(",")}|${nonce}|${timestamp}`;
      return {
        device_id: named,
        public_key,
        signature: signText(text),
        nonce,
        timestamp,
        scopes: [...scopes],
      };
    },
  };
}

/** A proof as a transport hands it to the authenticator; every nonce is right. */
export function deviceCredential(proof: DeviceProof, more: Partial<DeviceCredential> = {}): DeviceCredential {
  return {
    kind: "device",
    proof,
    client_id: "cli",
    origin: "",
    client_name: "My laptop",
    platform: "linux",
    spend: () => true,
    ...more,
  };
}

/** What a device says in `connect`, beside its proof. */
export interface DeviceHello extends Partial<Omit<Signing, "server_id" | "nonce">> {
  readonly client_name?: string;
}

// oxlint-disable-next-line typescript/no-explicit-any -- a test looks wherever it likes
type Welcome = any;

/** Answers the challenge a socket was sent; the payload of connect. Rejects with RefusedRequest. */
export async function connectDevice(
  socket: TestSocket,
  device: TestDevice,
  hello: DeviceHello = {},
): Promise<Welcome> {
  const { json } = await socket.nextEvent("connect.challenge");
  const { client_id = "cli", client_name = "", ...signing } = hello;
  const { nonce, server_id } = json.payload;
  const proof = device.prove({ nonce, server_id, client_id, ...signing });
  return socket.request("connect", { client_id, client_name, platform: "linux", device: proof });
}

/** A device that nobody knows asks to come in; the code it is told. */
export async function askToPair(
  ws_url: string,
  device: TestDevice,
  hello: DeviceHello = {},
): Promise<string> {
  const socket = await openSocket(ws_url);
  const refused = await connectDevice(socket, device, hello).then(
    () => null,
    (error: unknown) => error,
  );
  await socket.closed;
  if (refused instanceof RefusedRequest && typeof refused.details?.["code"] === "string") {
    return refused.details["code"];
  }
  throw new Error("it was not told a code", { cause: refused });
}
