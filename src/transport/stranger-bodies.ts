import type { Limits } from "../core/limits.ts";
import { GatewayError } from "../protocol/errors.ts";

const RETRY_MS = 1_000;

type Bound = "unauthenticated_bytes" | "unauthenticated_bytes_per_address";

export interface BodyMeter {
  /** So much more of the body came. An error: there is no room for it, and what came before is to be dropped. */
  add(bytes: number): GatewayError | null;
  /** Nothing of it is held any more. Idempotent. */
  end(): void;
}

/**
 * Bodies of requests that have not said who they are, as long as they are received: anybody can send as many as they have
 * connections. What is as short as a login counts for nothing, so that a login is never kept out by others.
 */
export class StrangerBodies {
  readonly #limits: Pick<Limits, Bound | "connect_bytes" | "body_bytes">;
  readonly #networkOf: (address: string) => string;
  readonly #of = new Map<string, number>();
  #all = 0;

  constructor(
    limits: Pick<Limits, Bound | "connect_bytes" | "body_bytes">,
    networkOf: (address: string) => string,
  ) {
    this.#limits = limits;
    this.#networkOf = networkOf;
  }

  meter(address: string): BodyMeter {
    const network = this.#networkOf(address);
    let free = this.#limits.connect_bytes;
    let held = 0;
    const take = (bytes: number): void => {
      held += bytes;
      this.#all += bytes;
      const mine = (this.#of.get(network) ?? 0) + bytes;
      if (mine > 0) this.#of.set(network, mine);
      else this.#of.delete(network);
    };
    const end = (): void => take(-held);
    return {
      add: (bytes) => {
        const counted = Math.max(0, bytes - free);
        free = Math.max(0, free - bytes);
        if (counted === 0) return null;
        take(counted);
        const full = this.#full(network);
        if (full !== null) end();
        return full;
      },
      end,
    };
  }

  /** One body fits in any case. */
  #full(network: string): GatewayError | null {
    const bound = (option: Bound): number => Math.max(this.#limits[option], this.#limits.body_bytes);
    const held = {
      unauthenticated_bytes_per_address: this.#of.get(network) ?? 0,
      unauthenticated_bytes: this.#all,
    };
    for (const what of ["unauthenticated_bytes_per_address", "unauthenticated_bytes"] as const) {
      const limit = bound(what);
      if (held[what] <= limit) continue;
      return new GatewayError(
        "RATE_LIMITED",
        `${limit} bytes are being received already from others who have not said who they are (limits.${what}): wait`,
        { details: { kind: "bodies" }, limit: { what, limit }, retry_after_ms: RETRY_MS },
      );
    }
    return null;
  }
}
