import type { Challenge, Challenger } from "../core/challenge.ts";
import type { Limits } from "../core/limits.ts";
import type { Clock } from "../core/ports.ts";
import { GatewayError } from "../protocol/errors.ts";
import { networkOf } from "./address.ts";

const NONCE_BYTES = 32;

export interface ChallengesOptions {
  readonly clock: Clock;
  readonly limits: Pick<Limits, "challenges" | "challenges_per_address" | "challenge_ttl_ms">;
  /** Known once the store is open. */
  readonly server_id: () => string;
}

/** `ends_at` by the monotonic clock. */
interface Issued {
  readonly network: string;
  readonly ends_at: number;
}

/** Those of one process. */
interface MemoryChallenger extends Challenger {
  spend(nonce: string): boolean;
}

/** Nonces: a socket keeps its own, those for REST are here, bounded in all and for each address. */
export function createChallenges({ clock, limits, server_id }: ChallengesOptions): MemoryChallenger {
  /** By nonce, in the order issued, which is the order they end in. */
  const out = new Map<string, Issued>();
  /** How many of them each address has. */
  const held = new Map<string, number>();

  function drop(nonce: string): Issued | undefined {
    const found = out.get(nonce);
    if (found === undefined) return undefined;
    out.delete(nonce);
    const left = (held.get(found.network) ?? 0) - 1;
    if (left > 0) held.set(found.network, left);
    else held.delete(found.network);
    return found;
  }

  function purge(): void {
    const now = clock.monotonic();
    for (const [nonce, { ends_at }] of out) {
      if (ends_at > now) return;
      drop(nonce);
    }
  }

  /** @throws GatewayError */
  function checkRoom(network: string): void {
    const option =
      out.size >= limits.challenges
        ? "challenges"
        : (held.get(network) ?? 0) >= limits.challenges_per_address
          ? "challenges_per_address"
          : null;
    if (option === null) return;
    throw new GatewayError(
      "RATE_LIMITED",
      "too many challenges are out: use those you have, or try again later",
      {
        details: { kind: "challenges" },
        limit: { what: option, limit: limits[option] },
        retry_after_ms: limits.challenge_ttl_ms,
      },
    );
  }

  return {
    forSocket(): Challenge {
      const ends_at = clock.monotonic() + limits.challenge_ttl_ms;
      const nonce = newNonce();
      let spent = false;
      return {
        nonce,
        server_id: server_id(),
        ts: clock.now(),
        spend(said) {
          const right = !spent && said === nonce && clock.monotonic() < ends_at;
          spent = true;
          return right;
        },
      };
    },
    issue(address) {
      purge();
      const network = networkOf(address);
      checkRoom(network);
      const nonce = newNonce();
      out.set(nonce, { network, ends_at: clock.monotonic() + limits.challenge_ttl_ms });
      held.set(network, (held.get(network) ?? 0) + 1);
      const ts = clock.now();
      return { nonce, server_id: server_id(), ts, expires_at: ts + limits.challenge_ttl_ms };
    },
    spend(nonce) {
      const found = drop(nonce);
      return found !== undefined && clock.monotonic() < found.ends_at;
    },
  };
}

function newNonce(): string {
  return Buffer.from(crypto.getRandomValues(new Uint8Array(NONCE_BYTES))).toString("base64url");
}
