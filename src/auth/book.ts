import type { Clock } from "../core/ports.ts";
import type { Principal } from "../core/principal.ts";
import { GatewayError } from "../protocol/errors.ts";
import type { Scope } from "../protocol/schema.ts";
import type { DeviceEntry, Entry } from "./entry.ts";
import { bondOf } from "./entry.ts";
import { digestOf, MAX_SECRET_CHARS, sameDigest } from "./secret.ts";

/** What a secret turned out to be. "expired": it was right once. */
export type Found =
  | { readonly state: "live"; readonly principal: Principal; readonly entry: Entry | null }
  | { readonly state: "expired" | "unknown" };

/** A credential of the configuration. The digest changes with its secret. */
export interface Configured {
  readonly digest: Buffer;
  readonly principal: Principal;
}

export interface BookOptions {
  readonly clock: Clock;
  /** Whether nothing of a user counts. */
  readonly isShutOut: (user: string) => boolean;
  /** Told of every credential that ended, one turn of the event loop later: what answers the request goes first. */
  readonly onRevoked: (credential_id: string) => void;
  /** Told of every credential that ended by itself. */
  readonly onExpired: (entry: Entry) => void;
}

/** How late an end by expiry may be noticed when the wall clock jumps. */
const SWEEP_MS = 1_000;
/** Expired secrets that are still told apart from wrong ones. */
const EXPIRED_KEPT = 1_000;

const UNKNOWN: Found = { state: "unknown" };
const EXPIRED: Found = { state: "expired" };

/** The credentials that count now, found by id and by the digest of their secret. */
export class Book {
  readonly #options: BookOptions;
  readonly #byId = new Map<string, Entry>();
  /** Of those that have a secret. */
  readonly #byDigest = new Map<string, Entry>();
  /** Devices by the hex of their key. */
  readonly #byKey = new Map<string, DeviceEntry>();
  /** Principals with a part of what their credential was granted, and the one with all of it. */
  readonly #narrowed = new WeakMap<Principal, Principal>();
  /** Ids of the auth sessions made with a credential, by its id. */
  readonly #children = new Map<string, Set<string>>();
  readonly #expired = new Set<string>();
  /** Credentials of the configuration, by id. */
  readonly #standing = new Map<string, Configured>();
  /** The one of these that is found by its secret. */
  #token: Configured | null = null;
  /** No credential expires before this. */
  #next = Number.POSITIVE_INFINITY;
  #cancel: (() => void) | null = null;
  #closed = false;

  constructor(options: BookOptions) {
    this.#options = options;
  }

  /**
   * What stands in the configuration under an id; null: nothing does any more. What came in by another one that stood there
   * has ended. `isSecret`: it is found by its secret, as the token is and the password is not.
   */
  stand(id: string, configured: Configured | null, isSecret: boolean): void {
    const before = this.#standing.get(id);
    if (configured === null) this.#standing.delete(id);
    else this.#standing.set(id, configured);
    if (isSecret) this.#token = configured;
    if (before === undefined) return;
    this.#options.clock.after(0, () => this.#options.onRevoked(id));
    for (const child of this.#children.get(id) ?? []) this.end(child);
  }

  get(id: string): Entry | undefined {
    return this.#byId.get(id);
  }

  /** Who is behind a credential. */
  principal(id: string): Principal | undefined {
    return this.#standing.get(id)?.principal ?? this.#byId.get(id)?.principal;
  }

  /** The device that has this key. */
  device(key: Buffer): DeviceEntry | undefined {
    return this.#byKey.get(keyOf(key));
  }

  /** Whether a credential goes by this id. */
  has(id: string): boolean {
    return this.#byId.has(id) || this.#standing.has(id);
  }

  /** In the order they were added. */
  entries(): IterableIterator<Entry> {
    return this.#byId.values();
  }

  add(entry: Entry): void {
    this.#byId.set(entry.id, entry);
    if (entry.kind === "device") this.#byKey.set(keyOf(entry.key), entry);
    else this.#byDigest.set(keyOf(entry.digest), entry);
    if (entry.kind === "auth_session" && entry.parent !== null) {
      const siblings = this.#children.get(entry.parent) ?? new Set();
      this.#children.set(entry.parent, siblings.add(entry.id));
    }
    const { expires_at } = entry.principal;
    if (expires_at === null || expires_at >= this.#next) return;
    this.#next = expires_at;
    this.#arm();
  }

  /** Ends a credential and every auth session that was made with it. An id that is not there is none. */
  end(id: string): void {
    const entry = this.#byId.get(id);
    if (entry === undefined) return;
    this.#byId.delete(id);
    if (entry.kind === "device") this.#byKey.delete(keyOf(entry.key));
    else this.#byDigest.delete(keyOf(entry.digest));
    const { clock, onRevoked } = this.#options;
    clock.after(0, () => onRevoked(id));
    if (entry.kind === "auth_session" && entry.parent !== null) this.#leave(entry.parent, id);
    for (const child of this.#children.get(id) ?? []) this.end(child);
  }

  find(secret: string): Found {
    if (secret.length > MAX_SECRET_CHARS) return UNKNOWN;
    const digest = digestOf(secret);
    const { clock } = this.#options;
    const token = this.#token;
    if (token !== null && sameDigest(digest, token.digest)) {
      return { state: "live", principal: token.principal, entry: null };
    }
    const key = keyOf(digest);
    const entry = this.#byDigest.get(key);
    if (entry === undefined || !sameDigest(digest, entry.digest))
      return this.#expired.has(key) ? EXPIRED : UNKNOWN;
    if (hasExpired(entry, clock.now())) return EXPIRED;
    return { state: "live", principal: entry.principal, entry };
  }

  /** The same caller with those of its scopes that were asked for; live as long as it. */
  narrow(principal: Principal, asked: ReadonlySet<Scope>): Principal {
    const narrow = { ...principal, scopes: principal.scopes.intersection(asked) };
    this.#narrowed.set(narrow, principal);
    return narrow;
  }

  /** As narrow, of whoever is behind a credential; null: nobody. */
  narrowed(credential: string, asked: ReadonlySet<Scope>): Principal | null {
    const principal = this.principal(credential);
    if (principal === undefined) return null;
    return principal.scopes.isSubsetOf(asked) ? principal : this.narrow(principal, asked);
  }

  /** Those of the configuration. */
  standing(): Principal[] {
    return [...this.#standing.values()].map(({ principal }) => principal);
  }

  /** Before a credential is made for somebody. @throws GatewayError CONFLICT {kind:"state"} */
  requireOpen(user: string): void {
    if (!this.#options.isShutOut(user)) return;
    throw new GatewayError(
      "CONFLICT",
      `${user} is disabled: enable them first (user.disable, disabled: false)`,
      {
        details: { kind: "state" },
      },
    );
  }

  /** Whether it counts: what it came from does (`holds`), and its user was not shut out. */
  isLive(principal: Principal): boolean {
    return !this.#options.isShutOut(principal.user) && this.holds(principal);
  }

  /** By identity: a principal of a secret that was rotated away is not the one that replaced it. */
  holds(shown: Principal): boolean {
    const principal = this.#narrowed.get(shown) ?? shown;
    const { credential } = principal;
    if (credential === null || this.#standing.get(credential)?.principal === principal) return true;
    const entry = this.#byId.get(credential);
    return entry?.principal === principal && !hasExpired(entry, this.#options.clock.now());
  }

  /** The bond of an auth session made with `parent` (null: with nothing); null: that credential does not count. */
  bond(parent: string | null, id: string): string | null {
    if (parent === null) return "";
    const entry = this.#standing.get(parent) ?? this.#byId.get(parent);
    return entry === undefined ? null : bondOf(entry.digest, id);
  }

  /** Idempotent. */
  close(): void {
    this.#closed = true;
    this.#cancel?.();
    this.#cancel = null;
  }

  #leave(parent: string, id: string): void {
    const siblings = this.#children.get(parent);
    siblings?.delete(id);
    if (siblings?.size === 0) this.#children.delete(parent);
  }

  #arm(): void {
    this.#cancel?.();
    this.#cancel = null;
    if (this.#closed || this.#next === Number.POSITIVE_INFINITY) return;
    const { clock } = this.#options;
    const wait = Math.min(Math.max(this.#next - clock.now(), 0), SWEEP_MS);
    this.#cancel = clock.after(wait, () => this.#sweep());
  }

  #sweep(): void {
    const now = this.#options.clock.now();
    if (now >= this.#next) {
      const due = [...this.#byId.values()].filter((entry) => hasExpired(entry, now));
      for (const entry of due) this.#expire(entry);
      this.#next = Number.POSITIVE_INFINITY;
      for (const { principal } of this.#byId.values()) {
        this.#next = Math.min(this.#next, principal.expires_at ?? Number.POSITIVE_INFINITY);
      }
    }
    this.#arm();
  }

  #expire(entry: Entry): void {
    this.end(entry.id);
    this.#options.onExpired(entry);
    this.#expired.add(keyOf(entry.digest));
    if (this.#expired.size <= EXPIRED_KEPT) return;
    for (const oldest of this.#expired) {
      this.#expired.delete(oldest);
      break;
    }
  }
}

function keyOf(digest: Buffer): string {
  return digest.toString("hex");
}

function hasExpired(entry: Entry, now: number): boolean {
  const { expires_at } = entry.principal;
  return expires_at !== null && expires_at <= now;
}
