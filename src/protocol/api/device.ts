import type { Static } from "@sinclair/typebox";
import { Type } from "@sinclair/typebox";
import { defineMethod } from "../methods.ts";
import { Empty, Params, ScopeSchema, Timestamp, User } from "../schema.ts";
import { RoleName } from "./auth.ts";

/** 32 bytes in base64url without padding; of the last character only four bits count, so two are always zero. */
const Base64Of32 = "^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$";
/** Whoever chooses an id for a device has these characters. */
const DeviceId = Type.String({
  pattern: "^[A-Za-z0-9._:-]{1,128}$",
  description: "the SHA-256 of the public key in lowercase hex, unless an administrator chose another",
});
const PublicKey = Type.String({
  pattern: Base64Of32,
  description: "Ed25519, the 32 bytes in base64url without padding",
});
const Name = Type.String({ minLength: 1, maxLength: 64 });
const Scopes = Type.Array(ScopeSchema, { maxItems: 16 });

/**
 * What a device shows in place of a secret: a signature over the UTF-8 of
 *
 *     agentbus-device-v1|server_id|device_id|client_id|origin|scopes|nonce|timestamp
 *
 * `server_id` and `nonce` are those of the challenge, `device_id` is the SHA-256 of the public key in lowercase hex
 * (whatever id the device goes by), `client_id` the one sent beside the proof (required, without "|"), `origin` the
 * Origin header or nothing, `scopes` sorted by code unit and joined by commas, `timestamp` as sent. All but `scopes` are
 * needed. The schema is wide on purpose: a proof that lacks something or does not fit is a wrong credential,
 * UNAUTHORIZED, like any other that cannot be read.
 */
export const DeviceProof = Type.Object(
  {
    device_id: text(
      "as in the list of devices; the SHA-256 of the public key in lowercase hex always will do",
    ),
    public_key: text("Ed25519, the 32 bytes in base64url without padding"),
    signature: text("the 64 bytes in base64url without padding"),
    nonce: text("as the challenge has it"),
    timestamp: Type.Optional(Timestamp),
    scopes: Type.Optional(
      Type.Array(Type.String({ maxLength: 64 }), {
        maxItems: 16,
        description: "those asked for, each once; none: all that were granted",
      }),
    ),
  },
  // As in the rest of connect, a newer client may say more.
  { additionalProperties: true },
);
export type DeviceProof = Static<typeof DeviceProof>;

function text(description: string) {
  return Type.Optional(Type.String({ maxLength: 256, description }));
}

/** The answer of `POST /api/v1/challenges`. The nonce is good for one login over REST, until `expires_at`. */
export const Challenge = Type.Object({
  nonce: Type.String(),
  server_id: Type.String(),
  ts: Timestamp,
  expires_at: Timestamp,
});

const Device = Type.Object({
  device_id: DeviceId,
  public_key: PublicKey,
  name: Type.String(),
  user: User,
  scopes: Type.Array(Type.String()),
  created_at: Timestamp,
  last_used_at: Type.Optional(Timestamp),
});

const PairingRequest = Type.Object({
  code: Type.String({ description: "as the device shows it" }),
  device_id: DeviceId,
  client_id: Type.String(),
  client_name: Type.String(),
  platform: Type.String(),
  remote: Type.String({ description: "the address it came from" }),
  scopes: Type.Array(Type.String(), { description: "those it asks for; none: all it is granted" }),
  created_at: Timestamp,
  expires_at: Timestamp,
});

/** Case, spaces and hyphens do not count. */
const Code = Type.String({ minLength: 1, maxLength: 32 });

export const deviceRegister = defineMethod({
  name: "device.register",
  aliases: ["devices.register"],
  scope: "devices.manage",
  mutates: true,
  doc: "Admits a device by its public key, without pairing. Another user than the caller's needs the scope admin.",
  audit: ({ device_id, name, user, scopes }) => ({
    ...(device_id !== undefined && { target: device_id }),
    details: { name, user, scopes },
  }),
  params: Params({
    public_key: PublicKey,
    device_id: Type.Optional(DeviceId),
    name: Type.Optional(Name),
    user: User,
    scopes: Scopes,
  }),
  result: Device,
});

export const deviceList = defineMethod({
  name: "device.list",
  aliases: ["devices.list"],
  scope: "devices.manage",
  doc: "The devices, oldest first, and the requests to be paired that are open.",
  params: Empty,
  result: Type.Object({
    devices: Type.Array(Device),
    pairing_requests: Type.Array(PairingRequest),
  }),
});

export const deviceApprove = defineMethod({
  name: "device.approve",
  aliases: ["devices.approve"],
  scope: "devices.manage",
  mutates: true,
  doc: "Admits the device that shows this code, with a role, scopes or both, from its next connect on. Another user than the caller's needs the scope admin.",
  audit: ({ user, role, scopes, name }) => ({ details: { name, user, role, scopes } }),
  params: Params({
    code: Code,
    user: Type.Optional(User),
    role: Type.Optional(RoleName),
    scopes: Type.Optional(Scopes),
    name: Type.Optional(Name),
  }),
  result: Device,
});

export const deviceReject = defineMethod({
  name: "device.reject",
  aliases: ["devices.reject"],
  scope: "devices.manage",
  mutates: true,
  doc: "Refuses the device that shows this code.",
  audit: () => ({}),
  params: Params({ code: Code }),
  result: Type.Object({ rejected: Type.Boolean() }),
});

export const deviceRevoke = defineMethod({
  name: "device.revoke",
  aliases: ["devices.revoke"],
  scope: "devices.manage",
  mutates: true,
  doc: "Ends a device and every connection that used it.",
  audit: ({ device_id }) => ({ target: device_id }),
  params: Params({ device_id: DeviceId }),
  result: Type.Object({ revoked: Type.Boolean() }),
});

export const deviceRename = defineMethod({
  name: "device.rename",
  aliases: ["devices.rename"],
  scope: "devices.manage",
  mutates: true,
  doc: "Gives a device another name.",
  audit: ({ device_id, name }) => ({ target: device_id, details: { name } }),
  params: Params({ device_id: DeviceId, name: Name }),
  result: Device,
});
