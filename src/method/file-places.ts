import type { Limits } from "../core/limits.ts";
import { GatewayError } from "../protocol/errors.ts";

const RETRY_MS = 1_000;

type Bound = "uploads" | "uploads_per_user" | "downloads_per_user";

export interface FilePlacesOptions {
  readonly limits: Pick<Limits, Bound>;
  /** Of each user. */
  readonly each: Bound;
  /** Default: as many as users have together. */
  readonly all?: Bound;
  /** As a refusal says it. */
  readonly kind: string;
  readonly what: string;
}

/** How many files are on their way. */
export class FilePlaces {
  readonly #options: FilePlacesOptions;
  readonly #ofUser = new Map<string, number>();
  #all = 0;

  constructor(options: FilePlacesOptions) {
    this.#options = options;
  }

  /** Takes a place; the answer gives it back, once. @throws GatewayError RATE_LIMITED */
  take(user: string): () => void {
    const { limits, each, all } = this.#options;
    const mine = this.#ofUser.get(user) ?? 0;
    if (mine >= limits[each]) throw this.#full(each);
    if (all !== undefined && this.#all >= limits[all]) throw this.#full(all);
    this.#all++;
    this.#ofUser.set(user, mine + 1);
    return () => {
      this.#all--;
      const left = (this.#ofUser.get(user) ?? 1) - 1;
      if (left === 0) this.#ofUser.delete(user);
      else this.#ofUser.set(user, left);
    };
  }

  #full(bound: Bound): GatewayError {
    const { limits, kind, what } = this.#options;
    const limit = limits[bound];
    return new GatewayError(
      "RATE_LIMITED",
      `${limit} files are being ${what} already (limits.${bound}): wait`,
      {
        details: { kind },
        limit: { what: bound, limit },
        retry_after_ms: RETRY_MS,
      },
    );
  }
}
