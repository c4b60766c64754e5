import type { Limits } from "../core/limits.ts";
import { GatewayError } from "../protocol/errors.ts";

const RETRY_MS = 1_000;

/** How many files are being received, in all and of each user. */
export class UploadPlaces {
  readonly #limits: Pick<Limits, "uploads" | "uploads_per_user">;
  readonly #ofUser = new Map<string, number>();
  #all = 0;

  constructor(limits: Pick<Limits, "uploads" | "uploads_per_user">) {
    this.#limits = limits;
  }

  /** Takes a place; the answer gives it back, once. @throws GatewayError RATE_LIMITED */
  take(user: string): () => void {
    const mine = this.#ofUser.get(user) ?? 0;
    if (mine >= this.#limits.uploads_per_user) throw this.#full("uploads_per_user");
    if (this.#all >= this.#limits.uploads) throw this.#full("uploads");
    this.#all++;
    this.#ofUser.set(user, mine + 1);
    return () => {
      this.#all--;
      const left = (this.#ofUser.get(user) ?? 1) - 1;
      if (left === 0) this.#ofUser.delete(user);
      else this.#ofUser.set(user, left);
    };
  }

  #full(what: "uploads" | "uploads_per_user"): GatewayError {
    const limit = this.#limits[what];
    return new GatewayError(
      "RATE_LIMITED",
      `${limit} files are being received already (limits.${what}): wait`,
      {
        details: { kind: "uploads" },
        limit: { what, limit },
        retry_after_ms: RETRY_MS,
      },
    );
  }
}
