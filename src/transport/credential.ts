import type { Credential } from "../core/principal.ts";
import type { DeviceProof } from "../protocol/api/device.ts";
import { GatewayError } from "../protocol/errors.ts";

/** What `connect` and a login over REST may carry. */
interface Said {
  readonly auth_token?: string | undefined;
  readonly session_token?: string | undefined;
  readonly password?: string | undefined;
  readonly device?: DeviceProof | undefined;
  readonly client_id?: string | undefined;
  readonly client_name?: string | undefined;
  readonly platform?: string | undefined;
}

/** What only the transport knows of a device that logs in. */
export interface Peer {
  /** The Origin header; "": there was none. */
  readonly origin: string;
  /** Whether the peer was given this nonce, in time, and shows it for the first time. It is used up. */
  readonly spend: (nonce: string) => boolean | Promise<boolean>;
}

/** The credential somebody sent; null: none. @throws GatewayError INVALID_REQUEST where there are several */
export function credentialIn(said: Said, { origin, spend }: Peer): Credential | null {
  const {
    auth_token,
    session_token,
    password,
    device,
    client_id = "",
    client_name = "",
    platform = "",
  } = said;
  const found: Credential[] = [];
  if (auth_token !== undefined) found.push({ kind: "token", token: auth_token });
  if (session_token !== undefined) found.push({ kind: "session_token", token: session_token });
  if (password !== undefined) found.push({ kind: "password", password });
  if (device !== undefined) {
    found.push({ kind: "device", proof: device, client_id, client_name, platform, origin, spend });
  }
  if (found.length > 1) throw tooManyCredentials();
  return found[0] ?? null;
}

export function tooManyCredentials(): GatewayError {
  return new GatewayError("INVALID_REQUEST", "more than one credential: send exactly one", {
    details: { kind: "credential" },
  });
}
