import type { Journal } from "../core/journal.ts";
import type { Clock } from "../core/ports.ts";
import type { Principal } from "../core/principal.ts";
import { Slots } from "../core/slots.ts";
import type { Store } from "../core/store.ts";
import { GatewayError } from "../protocol/errors.ts";
import { networkOf } from "./address.ts";
import { ownerPrincipal } from "./owner.ts";
import { createMark, digestOf } from "./secret.ts";
import type { Throttle } from "./throttle.ts";
import { tooManyGuesses } from "./throttle.ts";
import { writeRecord } from "./written.ts";

/** argon2id with 19 MiB and two passes. */
const COST = { algorithm: "argon2id", memoryCost: 19_456, timeCost: 2 } as const;
/** Passwords that are hashed at once, and that may wait for it. */
const HASHES = 2;
const WAITING = 16;
const RETRY_MS = 1_000;
/** Longest password that is looked at, UTF-16 code units, as in `connect`. */
const MAX_CHARS = 1_024;
/** How long one that was right is known again, and at how many addresses. */
const REMEMBER_MS = 60_000;
const REMEMBERED = 1_000;

const COLLECTION = "password";
const CONFIGURED = "config";
/** How often the hash is read again because another node has just written one. */
const TRIES = 3;

export interface PasswordsOptions {
  readonly store: Store;
  readonly journal: Journal;
  readonly throttle: Throttle;
  readonly clock: Clock;
  readonly config: {
    /** auth.password; empty: there is a hash. */
    readonly password: string;
    /** auth.password_hash, as `hashPassword` makes it. */
    readonly password_hash: string;
  };
}

export interface Passwords {
  /** Who a right password lets in. */
  readonly principal: Principal;
  /**
   * Makes the hash ready. Resolves with a digest that changes with the password and with nothing else.
   * @throws GatewayError UNAVAILABLE where the configured hash is none
   */
  start(): Promise<Buffer>;
  /**
   * Whether it is the password; null: yes. The errors are UNAUTHORIZED, RATE_LIMITED {kind:"logins"}
   * before anything was hashed, and UNAVAILABLE {kind:"logins"} where too many are being hashed.
   */
  refusal(password: string, address: string): Promise<GatewayError | null>;
}

/** The hash of a password, a PHC string. Takes some 50 ms of another thread. */
export function hashPassword(password: string): Promise<string> {
  return Bun.password.hash(password, COST);
}

/** The password of the configuration. */
export function createPasswords(options: PasswordsOptions): Passwords {
  const { throttle, clock } = options;
  const mark = createMark();
  const slots = new Slots(HASHES);
  /** What stands for the password at an address where it was right, and until when. */
  const remembered = new Map<string, { readonly shown: string; readonly until: number }>();
  /** Those that are being hashed: the same one from the same address is hashed once. */
  const pending = new Map<string, Promise<GatewayError | null>>();
  let hash = "";

  async function look(password: string, address: string, shown: string): Promise<GatewayError | null> {
    try {
      const right = await slots.use(() => Bun.password.verify(password, hash));
      if (right) remember(networkOf(address), shown);
      else throttle.wrong(address, shown);
      return right ? null : wrong();
    } finally {
      throttle.release(address);
      pending.delete(shown);
    }
  }

  function remember(network: string, shown: string): void {
    remembered.delete(network);
    remembered.set(network, { shown, until: clock.monotonic() + REMEMBER_MS });
    const [oldest = ""] = remembered.keys();
    if (remembered.size > REMEMBERED) remembered.delete(oldest);
  }

  async function refusal(password: string, address: string): Promise<GatewayError | null> {
    // It can be none, so it guesses at nothing; counted it would push others out of the throttle's memory.
    if (password.length > MAX_CHARS) return wrong();
    // Before anything is compared: who may not guess must not learn from what is remembered either.
    const turn = throttle.turnOf(address);
    if (turn > 0) return tooManyGuesses(turn);
    const network = networkOf(address);
    const shown = mark(network, password);
    const known = remembered.get(network);
    const lasts = known !== undefined && known.until > clock.monotonic();
    if (lasts && known.shown === shown) return null;
    const same = pending.get(shown);
    if (same !== undefined) return same;
    // From here on it is another one than those; where that tells something, it was a guess.
    const tells = lasts || throttle.holds(address);
    const full = slots.waiting >= WAITING;
    const wait = full ? 0 : throttle.take(address);
    if (full || wait > 0) {
      if (tells) throttle.wrong(address, shown);
      return full ? busy() : tooManyGuesses(wait);
    }
    const looked = look(password, address, shown);
    pending.set(shown, looked);
    return looked;
  }

  return {
    principal: ownerPrincipal("password", "password"),
    refusal,
    async start() {
      const { password, password_hash } = options.config;
      hash = password_hash === "" ? await storedHash(options, password) : password_hash;
      // One that cannot be read would be told at the first login only.
      await Bun.password.verify("agentbus", hash).catch(unusable);
      return digestOf(hash);
    },
  };
}

/**
 * The hash of a plain password: the last one while it fits, so that logins made with it survive a restart. Of nodes that
 * start at once the first writes it, and the others go by that.
 */
async function storedHash({ store, journal }: PasswordsOptions, password: string): Promise<string> {
  let hash: string | null = null;
  for (let tries = 0; tries < TRIES; tries++) {
    const kept = await store.record(COLLECTION, CONFIGURED);
    const last = kept === null ? "" : (JSON.parse(kept.data) as { hash: string }).hash;
    if (last !== "" && (await Bun.password.verify(password, last))) return last;
    hash ??= await hashPassword(password);
    const data = JSON.stringify({ hash });
    const record = { collection: COLLECTION, id: CONFIGURED, owner: "", data, expires_at: null };
    const over = kept?.data ?? null;
    if ((await writeRecord(journal, { kind: "record.put", record, over })) !== "changed") break;
  }
  // Where storage refuses it, or nodes have different ones, only those logins end with this process.
  return hash ?? hashPassword(password);
}

function wrong(): GatewayError {
  return new GatewayError("UNAUTHORIZED", "this password is wrong");
}

function busy(): GatewayError {
  return new GatewayError("UNAVAILABLE", "too many logins at once: try again later, or come with a token", {
    details: { kind: "logins" },
    retry_after_ms: RETRY_MS,
  });
}

function unusable(cause: unknown): never {
  throw new GatewayError(
    "UNAVAILABLE",
    'auth.password_hash cannot be read: "agentbus password" makes one that can',
    { details: { kind: "password_hash" }, cause },
  );
}
