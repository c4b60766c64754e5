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
  judge(credential: DeviceCredential, address: string): Verdict;
}

/** Admits devices by their signature; one that nobody knows asks to be paired. */
export function createDeviceLogin(options: DeviceLoginOptions): DeviceLogin {
  const { devices, pairing, throttle, clock, server_id } = options;

  /** Why a proof is refused before anything is verified; null: go on. The nonce is used up. */
  function refusal(proof: ReadProof, { client_id, spend }: DeviceCredential): string | null {
    if (!isSignable(client_id)) return 'a device needs a client_id, without "|"';
    const off = proof.timestamp - clock.now();
    if (Math.abs(off) > CLOCK_SKEW_MS) {
      return `device.timestamp is ${Math.abs(Math.round(off / 1_000))} s ${off > 0 ? "ahead" : "behind"}: set the clock, or go by the challenge's ts`;
    }
    return spend(proof.nonce)
      ? null
      : "device.nonce is not the one this connection was given, was used already, or is too old: sign the newest challenge";
  }

  /** It was verified, so it counts: also where it is told nothing, and a signature that was shown before. */
  function forged({ nonce }: ReadProof, address: string): Verdict {
    const wait = throttle.wait(address);
    if (wait > 0) throttle.wrongHere(address, nonce);
    else throttle.wrong(address, nonce);
    return wait > 0 ? tooSoon(wait) : refuse(WRONG);
  }

  return {
    knows({ proof: said }) {
      const proof = readProof(said);
      return typeof proof === "string" || devices.find(proof.device_id, proof.key) !== undefined;
    },
    judge(credential, address) {
      const here = throttle.waitHere(address);
      if (here > 0) return tooSoon(here);
      const proof = readProof(credential.proof);
      if (typeof proof === "string") return refuse(proof);
      // Guesses from everywhere keep strangers waiting, not the devices that were admitted.
      const entry = devices.find(proof.device_id, proof.key);
      const wait = entry === undefined ? throttle.wait(address) : 0;
      if (wait > 0) return tooSoon(wait);
      if (entry === undefined && proof.device_id !== deviceIdOf(proof.key)) {
        return refuse("device.device_id is not that of this public key");
      }
      const refused = refusal(proof, credential);
      if (refused !== null) return refuse(refused);
      const { client_id, client_name, platform, origin } = credential;
      const text = signedText(proof, { server_id: server_id(), client_id, origin });
      if (!isSignedBy(proof.key, text, proof.signature)) return forged(proof, address);
      if (entry !== undefined) {
        return admit(devices.enter(entry, proof.scopes.length === 0 ? null : storedScopes(proof.scopes)));
      }
      const { device_id, key, scopes } = proof;
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
    },
  };
}

function tooSoon(wait_ms: number): Verdict {
  return { ok: false, error: tooManyGuesses(wait_ms), guess: null };
}

const WRONG =
  "device.signature is wrong: it is not of this key, or not over agentbus-device-v1|server_id|device_id|client_id|origin|scopes|nonce|timestamp";
