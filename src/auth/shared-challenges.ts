import type { Challenger } from "../core/challenge.ts";
import type { Journal } from "../core/journal.ts";
import type { Limits } from "../core/limits.ts";
import type { Clock } from "../core/ports.ts";
import { CHALLENGES } from "../core/record.ts";
import { sameDigest } from "./secret.ts";
import { unwritten, writeRecord } from "./written.ts";

const RANDOM_BYTES = 32;
const TIME_BYTES = 6;
const MAC_BYTES = 32;
const SAID_BYTES = RANDOM_BYTES + TIME_BYTES;
/** How far the clocks of two nodes may be apart. */
const CLOCK_SKEW_MS = 60_000;

export interface SharedChallengesOptions {
  readonly journal: Journal;
  readonly clock: Clock;
  readonly limits: Pick<Limits, "challenge_ttl_ms">;
  /** Makes those of sockets, and bounds how many for REST are given out here. */
  readonly own: Challenger;
  /** The same for all nodes. Once the store is open. */
  readonly key: () => Buffer;
}

/**
 * Challenges for REST that any node takes: what is random, when it was made, and a keyed hash of both, so that nobody has
 * to remember what was given out. One that was used is a record until it would be too old anyway. It keeps its place
 * among those of its address as long as it would have lasted, so that the records are as bounded as the challenges.
 */
export function createSharedChallenges(options: SharedChallengesOptions): Challenger {
  const { journal, clock, limits, own } = options;
  let derived: Buffer | null = null;
  /** Those that were shown here, so that one shown again costs no write, and until when by the monotonic clock. */
  const shown = new Map<string, number>();

  function macOf(said: Buffer): Buffer {
    return new Bun.CryptoHasher("sha256", (derived ??= options.key())).update(said).digest();
  }

  /** When it was made; null: it is none of ours, or not written as we do. */
  function timeOf(nonce: string): number | null {
    const bytes = Buffer.from(nonce, "base64url");
    if (bytes.length !== SAID_BYTES + MAC_BYTES || bytes.toString("base64url") !== nonce) return null;
    const said = bytes.subarray(0, SAID_BYTES);
    if (!sameDigest(macOf(said), bytes.subarray(SAID_BYTES))) return null;
    return said.readUIntBE(RANDOM_BYTES, TIME_BYTES);
  }

  /** Whether it is shown here for the first time. */
  function isFirst(nonce: string): boolean {
    const now = clock.monotonic();
    for (const [old, until] of shown) {
      if (until > now) break;
      shown.delete(old);
    }
    if (shown.has(nonce)) return false;
    shown.set(nonce, now + limits.challenge_ttl_ms + CLOCK_SKEW_MS);
    return true;
  }

  return {
    forSocket: () => own.forSocket(),
    issue(address) {
      const issued = own.issue(address);
      const said = Buffer.alloc(SAID_BYTES);
      said.write(issued.nonce, "base64url");
      said.writeUIntBE(issued.ts, RANDOM_BYTES, TIME_BYTES);
      return { ...issued, nonce: Buffer.concat([said, macOf(said)]).toString("base64url") };
    },
    async spend(nonce) {
      const ts = timeOf(nonce);
      const now = clock.now();
      if (ts === null || ts > now + CLOCK_SKEW_MS || ts + limits.challenge_ttl_ms <= now) return false;
      if (!isFirst(nonce)) return false;
      const expires_at = now + limits.challenge_ttl_ms + 2 * CLOCK_SKEW_MS;
      const record = { collection: CHALLENGES, id: nonce, owner: "", data: "{}", expires_at };
      const became = await writeRecord(journal, { kind: "record.put", record, over: null });
      if (became === "refused") throw unwritten();
      return became === "written";
    },
  };
}
