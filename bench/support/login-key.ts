import { createHash, generateKeyPairSync, sign } from "node:crypto";

/** An Ed25519 key as a device has one. */
export interface Key {
  readonly device_id: string;
  readonly public_key: string;
  /** What `connect` takes as `device`. */
  prove(challenge: { readonly nonce: string; readonly server_id: string }, client_id: string): object;
}

export function newKey(): Key {
  const { publicKey, privateKey } = generateKeyPairSync("ed25519");
  const { x: public_key = "" } = publicKey.export({ format: "jwk" });
  const device_id = createHash("sha256").update(Buffer.from(public_key, "base64url")).digest("hex");
  return {
    device_id,
    public_key,
    prove({ nonce, server_id }, client_id) {
      const timestamp = Date.now();
      const text = `agentbus-device-v1|${server_id}|${device_id}|${client_id}|||${nonce}|${timestamp}`;
      const signature = sign(null, Buffer.from(text), privateKey).toString("base64url");
      return { device_id, public_key, signature, nonce, timestamp };
    },
  };
}
