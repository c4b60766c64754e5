import type { DeviceCredential } from "../client/device.ts";
import { deviceOf } from "../client/device.ts";
import { CommandError } from "./exit.ts";
import { gatewayFile, readPrivate, writePrivate } from "./gateway-file.ts";
import type { Io } from "./io.ts";

/**
 * The key by which one gateway knows this user of this machine. Every gateway has one of its own: what is signed for one of
 * them could not be passed on to another.
 */
export interface DeviceKey {
  readonly path: string;
  readonly jwk: Pick<JsonWebKey, "kty" | "crv" | "d" | "x">;
}

/** Null: there is none for this gateway. @throws CommandError */
export function readDeviceKey(url: string, io: Io): DeviceKey | null {
  const path = gatewayFile(url, io, ".json");
  const text = readPrivate(path, io);
  return text === null ? null : { path, jwk: parse(text, path) };
}

/** The key for this gateway, made where there is none. @throws CommandError */
export async function openDeviceKey(url: string, io: Io): Promise<DeviceKey> {
  const found = readDeviceKey(url, io);
  if (found !== null) return found;
  const keys = await crypto.subtle.generateKey("Ed25519", true, ["sign", "verify"]);
  const { kty, crv, d, x } = await crypto.subtle.exportKey("jwk", keys.privateKey);
  const path = gatewayFile(url, io, ".json");
  writePrivate(path, `${JSON.stringify({ kty, crv, d, x })}\n`, "once");
  // Of two that start at once one wrote it.
  const written = readDeviceKey(url, io);
  if (written === null) throw new CommandError(`${path} was removed while it was made: try again`);
  return written;
}

/** @throws CommandError where the file holds something else */
export async function credentialOf(
  { path, jwk }: DeviceKey,
  choices: Pick<DeviceCredential, "scopes" | "onPairing"> = {},
): Promise<DeviceCredential> {
  const { d: _, ...open } = jwk;
  try {
    const [privateKey, publicKey] = await Promise.all([
      crypto.subtle.importKey("jwk", jwk, "Ed25519", false, ["sign"]),
      crypto.subtle.importKey("jwk", open, "Ed25519", true, ["verify"]),
    ]);
    return await deviceOf({ privateKey, publicKey }, choices);
  } catch {
    throw notAKey(path);
  }
}

function parse(text: string, path: string): DeviceKey["jwk"] {
  let value: Record<string, unknown> | null;
  try {
    value = JSON.parse(text) as Record<string, unknown> | null;
  } catch {
    throw notAKey(path);
  }
  const { kty, crv, d, x } = value ?? {};
  if (kty !== "OKP" || crv !== "Ed25519" || typeof d !== "string" || typeof x !== "string")
    throw notAKey(path);
  return { kty, crv, d, x };
}

function notAKey(path: string): CommandError {
  return new CommandError(`${path} holds no device key: remove it and pair again`);
}
