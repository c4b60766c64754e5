import type { Limits } from "../core/limits.ts";

/** What one look at a connection finds. */
export type Verdict = "ok" | "beat" | "deadline" | "silent" | "unanswered" | "slow";

export interface PulseRules {
  readonly limits: Limits;
  readonly heartbeat_interval_secs: number;
  readonly connection_timeout_secs: number;
}

/** Pings that may stay unanswered. */
const MAX_UNANSWERED = 3;

/**
 * Whether one connection lives and keeps up. It is looked at once a second; between looks it only notes that something
 * came, so a busy socket costs no clock. Times are monotonic milliseconds.
 */
export class Pulse {
  #handshakeAt: number;
  #heardAt: number;
  #beatAt: number;
  #heard = false;
  #unanswered = 0;
  #controls = 0;
  readonly #maxControls: number;
  #buffered = 0;
  /** The largest single frame that waits, as far as it was noted. */
  #frame = 0;
  #stuckSecs = 0;

  constructor(now: number, { control_frames_per_second }: Pick<Limits, "control_frames_per_second">) {
    this.#maxControls = control_frames_per_second;
    this.#handshakeAt = now;
    this.#heardAt = now;
    this.#beatAt = now;
  }

  /** Something came from the peer. */
  heard(): void {
    this.#heard = true;
  }

  /** As ponged. */
  pinged(): boolean {
    this.#heard = true;
    return ++this.#controls > this.#maxControls;
  }

  /** True: that was one too many since the last look. */
  ponged(): boolean {
    this.#unanswered = 0;
    return this.pinged();
  }

  /** The handshake begins now: a socket that was authenticated at its upgrade may say `connect` later. */
  shakesHands(now: number): void {
    this.#handshakeAt = now;
  }

  /** A frame of so many bytes was sent that would fill much of what may wait. */
  sent(bytes: number): void {
    this.#frame = Math.max(this.#frame, bytes);
  }

  /**
   * Whether more waits than may. A single frame, a snapshot with a long answer in it, may be larger than all that may
   * wait: who is taking it is not slow by that.
   */
  isOver(buffered: number, limits: Limits): boolean {
    this.#frame = Math.min(this.#frame, buffered);
    return buffered > limits.slow_soft_bytes + this.#frame;
  }

  /** Bytes that waited for the peer at the last look. */
  get buffered(): number {
    return this.#buffered;
  }

  /** One look; `connected` is false before the handshake. After "beat" a ping is expected to be sent. */
  look(now: number, connected: boolean, buffered: number, rules: PulseRules): Verdict {
    const slow = this.#isSlow(buffered, rules.limits);
    this.#controls = 0;
    if (this.#heard) {
      this.#heard = false;
      this.#heardAt = now;
    }
    if (!connected) return now - this.#handshakeAt >= rules.limits.connect_deadline_ms ? "deadline" : "ok";
    if (slow) return "slow";
    if (now - this.#heardAt >= rules.connection_timeout_secs * 1000) return "silent";
    if (now - this.#beatAt < rules.heartbeat_interval_secs * 1000) return "ok";
    if (this.#unanswered >= MAX_UNANSWERED) return "unanswered";
    this.#beatAt = now;
    this.#unanswered++;
    return "beat";
  }

  /** Too much waits, or much waits and for `slow_stuck_secs` it was never less than the second before. */
  #isSlow(buffered: number, limits: Limits): boolean {
    const before = this.#buffered;
    this.#buffered = buffered;
    const stuck =
      before > limits.slow_stuck_bytes && buffered > limits.slow_stuck_bytes && buffered >= before;
    this.#stuckSecs = stuck ? this.#stuckSecs + 1 : 0;
    return this.isOver(buffered, limits) || this.#stuckSecs >= limits.slow_stuck_secs;
  }
}
