import { GatewayError } from "../protocol/errors.ts";
import type { Limits } from "./limits.ts";
import type { StorageRefusal } from "./operation.ts";
import type { Clock } from "./ports.ts";

/** Storage refuses writes: since when, and when it is tried again. */
export class Outage {
  /** Monotonic, milliseconds. */
  readonly since: number;
  reason: StorageRefusal;
  /** It is time for another try. */
  isDue = false;
  /** Reading by way of the writer is refused too, as of the last try. */
  refusesLoads = false;
  readonly #clock: Clock;
  readonly #limits: Limits;
  #delay: number | null = null;
  #cancel: () => void = () => undefined;

  constructor(clock: Clock, limits: Limits, reason: StorageRefusal) {
    this.#clock = clock;
    this.#limits = limits;
    this.since = clock.monotonic();
    this.reason = reason;
  }

  /** Calls `task` once it is time for another try: later each time. */
  wait(task: () => void): void {
    const { storage_retry_min_ms, storage_retry_max_ms } = this.#limits;
    this.#delay = Math.min(
      this.#delay === null ? storage_retry_min_ms : this.#delay * 2,
      storage_retry_max_ms,
    );
    this.isDue = false;
    this.#cancel = this.#clock.after(this.#delay, () => {
      this.isDue = true;
      this.refusesLoads = false;
      task();
    });
  }

  /** There is no other try. Idempotent. */
  end(): void {
    this.#cancel();
  }
}

/** What a command is told while storage refuses. */
export function storageRefuses(): GatewayError {
  return new GatewayError(
    "UNAVAILABLE",
    "storage refuses writes (is its disk full, or its server out of reach?); nothing was done",
    {
      details: { kind: "storage" },
      retry_after_ms: 2_000,
    },
  );
}

/** Whether something was refused because another node has the session. */
export function isElsewhere(error: unknown): boolean {
  return error instanceof GatewayError && error.details?.["kind"] === "elsewhere";
}

/** Whether something was refused because storage does not answer, or takes nothing: it may be asked again. */
export function isOutOfReach(error: unknown): boolean {
  return error instanceof GatewayError && error.details?.["kind"] === "storage";
}

/** What a command is told whose session another node has: it alone appends to it. */
export function servedElsewhere(): GatewayError {
  return new GatewayError(
    "UNAVAILABLE",
    "another node serves this session; nothing was done: try again there",
    {
      details: { kind: "elsewhere" },
      retry_after_ms: 2_000,
    },
  );
}

/** What a command is told whose record another node, or another request, changed at the same time. */
export function changedMeanwhile(): GatewayError {
  return new GatewayError("CONFLICT", "it was changed at the same time; nothing was done: try again", {
    details: { kind: "busy" },
    retryable: true,
    retry_after_ms: 100,
  });
}

/** What a command is told once the journal takes nothing more. */
export function gatewayStops(): GatewayError {
  return new GatewayError("UNAVAILABLE", "the gateway is stopping; nothing was done", {
    details: { kind: "draining" },
  });
}

/** A user or a session has as many of something as it may; nothing is evicted to make room. */
export function quotaReached(what: string, limits: Limits): GatewayError {
  const limit = limits[what as keyof Limits];
  return new GatewayError(
    "CONFLICT",
    `full: limits.${what} = ${limit} is reached; delete some, or raise it`,
    { details: { kind: "full" }, limit: { what, limit } },
  );
}

/** Why a run fails whose answer the log did not take. */
export function answerRefused(
  { reason, what = "" }: { readonly reason: string; readonly what?: string },
  limits: Limits,
): GatewayError {
  if (reason === "full") return quotaReached(what, limits);
  return new GatewayError("UNAVAILABLE", "the log did not take the answer", { details: { kind: reason } });
}

/** Of a bounded database a part is kept for messages. */
export function noRoomForFiles(): GatewayError {
  return new GatewayError(
    "UNAVAILABLE",
    "there is no room for files (storage.max_bytes): what is left is kept for messages; nothing was done",
    { details: { kind: "room" }, retryable: false },
  );
}

/** More waits to be written than may. */
export function tooMuchWaits({ journal_queue_bytes }: Limits): GatewayError {
  return new GatewayError("UNAVAILABLE", "too much is waiting to be written; nothing was done", {
    details: { kind: "journal" },
    limit: { what: "journal_queue_bytes", limit: journal_queue_bytes },
    retry_after_ms: 1_000,
  });
}

export function runTooLong(ms: number): GatewayError {
  const secs = Math.round(ms / 1000);
  return new GatewayError("TIMEOUT", `the run took longer than ${secs} s (agent.run_timeout_secs)`);
}

/** What a run is told to have ended with that broke on a bug. */
export function runBroken(): GatewayError {
  return new GatewayError("INTERNAL_ERROR", "the run failed unexpectedly; the log has it under its run_id");
}
