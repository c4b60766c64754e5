import type { Cluster } from "../core/cluster.ts";
import type { PairingView } from "../core/devices.ts";
import type { Limits } from "../core/limits.ts";
import type { Clock, Logger } from "../core/ports.ts";
import { GatewayError } from "../protocol/errors.ts";
import { networkOf } from "./address.ts";
import type { Bucket } from "./bucket.ts";
import { afterWrong } from "./bucket.ts";
import { expired, rejected, tooManyCodes } from "./pairing-answers.ts";
import { ADDRESS_RULE } from "./throttle.ts";

/** Nothing that is read as something else: neither 0 and O nor 1 and I. Five bits each. */
const ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ";
const CODE_CHARS = 8;
/** How soon a device that waits may ask again. */
const RETRY_MS = 3_000;
/** Devices that are still to be told that they were refused, or that nobody answered. */
const ENDED_KEPT = 256;
/** Users whose wrong codes are counted. */
const USERS_KEPT = 1_000;

type Option = "pairing_requests" | "pairing_requests_per_address";

export interface PairingOptions {
  readonly clock: Clock;
  readonly log: Logger;
  readonly limits: Pick<Limits, Option | "pairing_ttl_secs">;
}

/** A device that showed that it has the private half of a key nobody admitted. */
export interface Asking extends Omit<PairingView, "code" | "created_at" | "expires_at"> {
  readonly key: Buffer;
}

interface Request extends Asking {
  readonly code: string;
  readonly created_at: number;
  readonly expires_at: number;
  /** By the monotonic clock. */
  readonly ends_at: number;
  /** Its approval is being written: nobody else may answer it. */
  answered: boolean;
}

const TOPIC = "pairing";

type ToldRequest = Omit<Request, "key" | "ends_at" | "answered"> & { readonly key: string };

/** What nodes tell each other: one of these. */
interface Told {
  readonly made?: ToldRequest;
  /** Ids of devices. */
  readonly rejected?: string;
  readonly admitted?: string;
  /** A user who said a code that there is not. */
  readonly wrong?: string;
}

/**
 * Requests to be paired, in memory: a stranger can make the gateway keep a few of them for a few minutes, and write
 * nothing. After a restart a device that still waits is given another code.
 */
export class Pairing {
  readonly #options: PairingOptions;
  /** By device_id, in the order made, which is the order they end in. */
  readonly #open = new Map<string, Request>();
  readonly #ended = new Map<string, { readonly how: "rejected" | "expired"; readonly until: number }>();
  /** What wrong codes took, by who showed them. */
  readonly #wrong = new Map<string, Bucket>();

  /** Tells the other nodes. */
  #tell: (told: Told) => void = () => undefined;

  constructor(options: PairingOptions) {
    this.#options = options;
  }

  /** Has every node know of the requests of all. They say so to each other, so that a stranger still has nothing written. */
  follow(cluster: Pick<Cluster, "tell" | "onTold">): void {
    this.#tell = (told) => cluster.tell(TOPIC, JSON.stringify(told));
    cluster.onTold(TOPIC, (text) => this.#hear(JSON.parse(text) as Told));
  }

  /** What a device reads that nobody admitted. The same one is told the same code until it ends. */
  ask(asking: Asking): GatewayError {
    this.#purge();
    const { device_id } = asking;
    const open = this.#open.get(device_id);
    if (open !== undefined) {
      // Once more to the others: one of them may have begun since.
      this.#tell(madeOf(open));
      return this.#waits(open);
    }
    const ended = this.#ended.get(device_id);
    if (ended?.how === "rejected") return rejected();
    if (ended?.how === "expired") {
      // Once, so that it stops; whoever starts it again is given another code.
      this.#ended.delete(device_id);
      return expired();
    }
    const full = this.#full(networkOf(asking.remote));
    if (full !== null) return full;
    const request = this.#make(asking);
    this.#open.set(device_id, request);
    this.#tell(madeOf(request));
    const { client_name, remote } = asking;
    this.#options.log.info({ device_id, client_name, remote }, "a device asks to be paired");
    return this.#waits(request);
  }

  /** Oldest first. */
  list(): PairingView[] {
    this.#purge();
    return [...this.#open.values()]
      .filter(({ answered }) => !answered)
      .map(({ key: _key, ends_at: _ends_at, answered: _answered, code, ...view }) => ({
        code: shown(code),
        ...view,
      }));
  }

  /**
   * The request with this code, taken for whoever answers it: `drop`, `reject` or `release` follows.
   * @throws GatewayError NOT_FOUND, RATE_LIMITED {kind:"pairing"}
   */
  take(code: string, user: string): Asking {
    this.#purge();
    const now = this.#options.clock.monotonic();
    const bucket = this.#wrong.get(user) ?? null;
    if (bucket !== null && bucket.until > now) throw tooManyCodes(Math.ceil(bucket.until - now));
    const plain = code.toUpperCase().replaceAll(/[\s-]/g, "");
    // No secret from whoever asks: they may list them, too.
    for (const request of this.#open.values()) {
      if (request.code !== plain || request.answered) continue;
      request.answered = true;
      return request;
    }
    this.#countWrong(user);
    this.#tell({ wrong: user });
    throw new GatewayError("NOT_FOUND", "no device shows this code: device.list has those that are open", {
      details: { kind: "pairing" },
    });
  }

  /** The answer could not be written. */
  release({ device_id }: Asking): void {
    const request = this.#open.get(device_id);
    if (request !== undefined) request.answered = false;
  }

  /** The answer counts: it is refused, and told so for a while. */
  reject({ device_id }: Asking): void {
    this.#open.delete(device_id);
    this.#end(device_id, "rejected");
    this.#tell({ rejected: device_id });
  }

  /** The device was admitted. */
  drop(device_id: string): void {
    this.#open.delete(device_id);
    this.#ended.delete(device_id);
    this.#tell({ admitted: device_id });
  }

  #hear({ made, rejected: refused, admitted, wrong }: Told): void {
    if (made !== undefined) this.#follow(made);
    if (wrong !== undefined) this.#countWrong(wrong);
    const over = refused ?? admitted;
    if (over !== undefined) this.#open.delete(over);
    if (refused !== undefined) this.#end(refused, "rejected");
    if (admitted !== undefined) this.#ended.delete(admitted);
  }

  /** Where a device asked two nodes at once every node goes by the code that was made first. */
  #follow({ key, ...made }: ToldRequest): void {
    const { clock, limits } = this.#options;
    this.#purge();
    const { device_id, created_at, expires_at } = made;
    const open = this.#open.get(device_id);
    if (open !== undefined && (open.answered || open.code === made.code || isOlder(open, made))) return;
    if (open === undefined && (this.#open.size >= limits.pairing_requests || this.#ended.has(device_id)))
      return;
    const left = Math.min(expires_at - clock.now(), limits.pairing_ttl_secs * 1_000);
    const ends_at = clock.monotonic() + left;
    this.#open.delete(device_id);
    this.#open.set(device_id, {
      ...made,
      created_at,
      key: Buffer.from(key, "base64url"),
      ends_at,
      answered: false,
    });
  }

  #countWrong(user: string): void {
    const before = this.#wrong.get(user) ?? null;
    this.#wrong.delete(user);
    this.#wrong.set(user, afterWrong(before, ADDRESS_RULE, this.#options.clock.monotonic()));
    dropOldest(this.#wrong, USERS_KEPT);
  }

  #make(asking: Asking): Request {
    const { clock, limits } = this.#options;
    const ttl_ms = limits.pairing_ttl_secs * 1_000;
    const now = clock.now();
    return {
      ...asking,
      code: newCode(),
      created_at: now,
      expires_at: now + ttl_ms,
      ends_at: clock.monotonic() + ttl_ms,
      answered: false,
    };
  }

  #waits({ code, expires_at }: Request): GatewayError {
    return new GatewayError(
      "UNAUTHORIZED",
      `this device is not paired: "agentbus device approve ${shown(code)}" admits it`,
      {
        details: { kind: "pairing", code: shown(code), expires_at },
        retryable: true,
        retry_after_ms: RETRY_MS,
        close: 4008,
      },
    );
  }

  #full(network: string): GatewayError | null {
    const { limits } = this.#options;
    const here = [...this.#open.values()].filter(({ remote }) => networkOf(remote) === network).length;
    const option: Option | null =
      this.#open.size >= limits.pairing_requests
        ? "pairing_requests"
        : here >= limits.pairing_requests_per_address
          ? "pairing_requests_per_address"
          : null;
    if (option === null) return null;
    return new GatewayError("RATE_LIMITED", "too many devices ask to be paired: try again later", {
      details: { kind: "pairing" },
      limit: { what: option, limit: limits[option] },
      retry_after_ms: 10 * RETRY_MS,
    });
  }

  #purge(): void {
    const now = this.#options.clock.monotonic();
    for (const [device_id, { ends_at, answered }] of this.#open) {
      if (ends_at > now) break;
      if (answered) continue;
      this.#open.delete(device_id);
      this.#end(device_id, "expired");
    }
    for (const [device_id, { until }] of this.#ended) {
      if (until <= now) this.#ended.delete(device_id);
    }
  }

  #end(device_id: string, how: "rejected" | "expired"): void {
    const { clock, limits } = this.#options;
    this.#ended.delete(device_id);
    this.#ended.set(device_id, { how, until: clock.monotonic() + limits.pairing_ttl_secs * 1_000 });
    dropOldest(this.#ended, ENDED_KEPT);
  }
}

function madeOf({ key, answered: _answered, ends_at: _ends_at, ...made }: Request): Told {
  return { made: { ...made, key: key.toString("base64url") } };
}

function isOlder(a: Pick<Request, "created_at" | "code">, b: Pick<Request, "created_at" | "code">): boolean {
  return a.created_at === b.created_at ? a.code < b.code : a.created_at < b.created_at;
}

/** Forty random bits. */
function newCode(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(CODE_CHARS));
  return [...bytes].map((byte) => ALPHABET.charAt(byte % ALPHABET.length)).join("");
}

/** A code as people read it to each other. */
function shown(code: string): string {
  return `${code.slice(0, CODE_CHARS / 2)}-${code.slice(CODE_CHARS / 2)}`;
}

function dropOldest(map: Map<string, unknown>, most: number): void {
  if (map.size <= most) return;
  const [oldest = ""] = map.keys();
  map.delete(oldest);
}
