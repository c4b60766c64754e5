import type { Clock } from "../core/ports.ts";
import type { DeviceCredential } from "../core/principal.ts";
import { wellFormed } from "../core/text.ts";
import type { DeviceBook } from "./devices.ts";
import { deviceIdOf, isSignable, isSignedBy, readProof, signedText } from "./device-proof.ts";
import type { ReadProof } from "./device-proof.ts";
import type { Pairing } from "./pairing.ts";
import { storedScopes } from "./scopes.ts";
import type { Throttle } from "./throttle.ts";
import { tooManyGuesses } from "./throttle.ts";
import type { Verdict } from "./verdict.ts";
import { admit, refuse } from "./verdict.ts";

/** How far a device's clock may be from ours; what makes a proof fresh is the nonce. */
const CLOCK_SKEW_MS = 60_000;

export interface DeviceLoginOptions {
  readonly devices: DeviceBook;
  readonly pairing: Pairing;
  readonly throttle: Throttle;
  readonly clock: Clock;
  /** Known once the store is open. */
  readonly server_id: () => string;
}

export interface DeviceLogin {
  /** Whether it is one that was admitted, as far as is known here, or nonsense. */
  knows(credential: DeviceCredential): boolean;
  /** Rejects with a GatewayError UNAVAILABLE where the store does not tell whether its nonce was used. */
  judge(credential: DeviceCredential, address: string): Promise<Verdict>;
}

/** Admits devices by their signature; one that nobody knows asks to be paired. */
export function createDeviceLogin(options: DeviceLoginOptions): DeviceLogin {
  const { devices, pairing, throttle, clock, server_id } = options;

  /** Why it is not looked at now; null: go on. */
  function stopped(proof: ReadProof, address: string): Verdict | null {
    // Guesses from everywhere keep strangers waiting, not the devices that were admitted.
    const isStranger = devices.find(proof.device_id, proof.key) === undefined;
    const wait = isStranger ? throttle.wait(address) : throttle.waitHere(address);
    if (wait > 0) return tooSoon(wait);
    if (isStranger && proof.device_id !== deviceIdOf(proof.key)) {
      return refuse("device.device_id is not that of this public key");
    }
    return null;
  }

  /** Why it is refused before its nonce is used up; null: go on. */
  function unfit({ timestamp }: ReadProof, { client_id }: DeviceCredential): Verdict | null {
    if (!isSignable(client_id)) return refuse('a device needs a client_id, without "|"');
    const off = timestamp - clock.now();
    if (Math.abs(off) <= CLOCK_SKEW_MS) return null;
    return refuse(
      `device.timestamp is ${Math.abs(Math.round(off / 1_000))} s ${off > 0 ? "ahead" : "behind"}: set the clock, or go by the challenge's ts`,
    );
  }

  /** It was verified, so it counts: also where it is told nothing, and a signature that was shown before. */
  function forged({ nonce }: ReadProof, address: string): Verdict {
    const wait = throttle.wait(address);
    if (wait > 0) throttle.wrongHere(address, nonce);
    else throttle.wrong(address, nonce);
    return wait > 0 ? tooSoon(wait) : refuse(WRONG);
  }

  /** Of a proof whose nonce was good: what its signature comes to. */
  function verified(proof: ReadProof, credential: DeviceCredential, address: string): Verdict {
    const { client_id, client_name, platform, origin } = credential;
    const text = signedText(proof, { server_id: server_id(), client_id, origin });
    if (!isSignedBy(proof.key, text, proof.signature)) return forged(proof, address);
    const { device_id, key, scopes } = proof;
    const entry = devices.find(device_id, key);
    if (entry !== undefined) {
      return admit(devices.enter(entry, scopes.length === 0 ? null : storedScopes(scopes)));
    }
    const asking = {
      device_id,
      key,
      client_id: wellFormed(client_id),
      client_name: wellFormed(client_name),
      platform: wellFormed(platform),
      remote: address,
      scopes: [...scopes],
    };
    return { ok: false, error: pairing.ask(asking), guess: null };
  }

  return {
    knows({ proof: said }) {
      const proof = readProof(said);
      return typeof proof === "string" || devices.find(proof.device_id, proof.key) !== undefined;
    },
    async judge(credential, address) {
      const here = throttle.waitHere(address);
      if (here > 0) return tooSoon(here);
      const proof = readProof(credential.proof);
      if (typeof proof === "string") return refuse(proof);
      const refused = stopped(proof, address) ?? unfit(proof, credential);
      if (refused !== null) return refused;
      if (!(await credential.spend(proof.nonce))) return refuse(STALE);
      // Meanwhile others may have guessed, and the device may be gone.
      return stopped(proof, address) ?? verified(proof, credential, address);
    },
  };
}

function tooSoon(wait_ms: number): Verdict {
  return { ok: false, error: tooManyGuesses(wait_ms), guess: null };
}

const STALE =
  "device.nonce is not the one this connection was given, was used already, or is too old: sign the newest challenge";
const WRONG =
  "device.signature is wrong: it is not of this key, or not over agentbus-device-v1|server_id|device_id|client_id|origin|scopes|nonce|timestamp";
