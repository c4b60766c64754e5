import { GatewayError } from "../protocol/errors.ts";

export type BusyPolicy = "queue" | "interrupt" | "reject";

/** A run as a lane sees it. */
export interface LaneRun {
  readonly run_id: string;
  readonly isEnded: boolean;
  /** Resolves when its end is committed, or it can have none because its session is gone. Never rejects. */
  readonly ended: Promise<void>;
  start(): void;
  /** Ends it because a newer message goes first. */
  interrupt(): void;
}

/** A place in a lane, taken before the message is committed. */
export interface Reservation {
  /** "started": the lane was free. */
  readonly status: "started" | "queued";
  /** The message is committed: the run goes when its turn comes. */
  commit(run: LaneRun): void;
  /** Nothing was written: the place is given back. Idempotent. */
  release(): void;
}

interface Entry {
  run: LaneRun | null;
  readonly interrupts: boolean;
  /** Resolves when it is committed or given back. */
  readonly settled: PromiseWithResolvers<void>;
}

interface Lane {
  active: LaneRun | null;
  entries: Entry[];
}

/** How many there may be, read each time. */
export interface LaneBounds {
  /** At once, of all sessions. */
  readonly running: number;
  /** That wait in one session. */
  readonly queued: number;
}

/** One active run per session, the others in the order they were accepted; and a bound on all runs together. */
export class Lanes {
  readonly #lanes = new Map<string, Lane>();
  readonly #most: LaneBounds;
  readonly #waiting: LaneRun[] = [];
  /** Sessions that take no more runs, and how many asked for that. */
  readonly #closed = new Map<string, number>();
  #running = 0;

  constructor(most: LaneBounds) {
    this.#most = most;
  }

  get running(): number {
    return this.#running;
  }
  /** Runs accepted and not running yet. */
  get queued(): number {
    let count = this.#waiting.length;
    for (const lane of this.#lanes.values()) count += lane.entries.length;
    return count;
  }

  /** Runs of a session: the active one first. */
  of(session: string): LaneRun[] {
    const lane = this.#lanes.get(session);
    if (lane === undefined) return [];
    const queued = lane.entries.flatMap((entry) => (entry.run === null ? [] : [entry.run]));
    return lane.active === null ? queued : [lane.active, ...queued];
  }

  /** Whether a session has runs, or places of runs that are on their way. */
  has(session: string): boolean {
    return this.#lanes.has(session);
  }

  activeOf(session: string): LaneRun | null {
    return this.#lanes.get(session)?.active ?? null;
  }

  /** Resolves when every place that is reserved now is committed or given back. */
  async reserved(session: string): Promise<void> {
    const entries = this.#lanes.get(session)?.entries ?? [];
    await Promise.all(entries.map(({ settled }) => settled.promise));
  }

  /** Takes no more runs of a session, until what is answered is called (once). */
  close(session: string): () => void {
    this.#closed.set(session, (this.#closed.get(session) ?? 0) + 1);
    return () => {
      const left = (this.#closed.get(session) ?? 1) - 1;
      if (left > 0) this.#closed.set(session, left);
      else this.#closed.delete(session);
    };
  }

  /** Takes a place, synchronously. @throws GatewayError CONFLICT {kind:"busy"}, {kind:"full"} or {kind:"state"} */
  reserve(session: string, policy: BusyPolicy): Reservation {
    if (this.#closed.has(session)) {
      throw new GatewayError("CONFLICT", "the session is being deleted", {
        details: { kind: "state" },
        retryable: true,
        retry_after_ms: 1_000,
      });
    }
    const lane = this.#lanes.get(session) ?? { active: null, entries: [] };
    const busy = lane.active !== null || lane.entries.length > 0;
    if (busy && policy === "reject") {
      throw new GatewayError(
        "CONFLICT",
        "the session is answering: wait for the run to end, or send on_busy",
        {
          details: { kind: "busy", ...(lane.active !== null && { run_id: lane.active.run_id }) },
          retryable: true,
          retry_after_ms: 1_000,
        },
      );
    }
    if (lane.entries.length >= this.#most.queued) {
      const limit = this.#most.queued;
      throw new GatewayError(
        "CONFLICT",
        `the session has ${limit} messages waiting: let some be answered first`,
        { details: { kind: "full" }, limit: { what: "queued_runs", limit } },
      );
    }
    this.#lanes.set(session, lane);
    const settled = Promise.withResolvers<void>();
    const entry: Entry = { run: null, interrupts: policy === "interrupt", settled };
    // An interrupting message goes before those that wait, behind earlier interrupting ones.
    const after = lane.entries.findLastIndex((each) => each.interrupts);
    if (entry.interrupts) lane.entries.splice(after + 1, 0, entry);
    else lane.entries.push(entry);
    return {
      status: busy ? "queued" : "started",
      commit: (run) => this.#commit(session, lane, entry, run),
      release: () => {
        if (entry.run !== null) return;
        settled.resolve();
        this.#leave(session, lane, entry);
      },
    };
  }

  #commit(session: string, lane: Lane, entry: Entry, run: LaneRun): void {
    entry.run = run;
    entry.settled.resolve();
    void run.ended.then(() => this.#ended(session, lane, entry, run));
    if (entry.interrupts) this.#interrupt(lane, entry);
    this.#pump(lane);
  }

  /** Ends what a newer message goes before: the active run, and those that were to interrupt it and have not begun. */
  #interrupt(lane: Lane, by: Entry): void {
    const before = lane.entries.slice(0, lane.entries.indexOf(by)).filter((each) => each.interrupts);
    lane.active?.interrupt();
    for (const { run } of before) run?.interrupt();
  }

  #pump(lane: Lane): void {
    // A run that was ended while it waited leaves by its own `ended`.
    if (lane.active !== null) return;
    const entry = lane.entries.find((each) => each.run?.isEnded !== true);
    const next = entry?.run ?? null;
    if (entry === undefined || next === null) return;
    lane.entries.splice(lane.entries.indexOf(entry), 1);
    lane.active = next;
    if (this.#running >= this.#most.running) {
      this.#waiting.push(next);
      return;
    }
    this.#running++;
    next.start();
  }

  #ended(session: string, lane: Lane, entry: Entry, run: LaneRun): void {
    if (lane.active !== run) return this.#leave(session, lane, entry);
    lane.active = null;
    const waiting = this.#waiting.indexOf(run);
    if (waiting >= 0) this.#waiting.splice(waiting, 1);
    else {
      this.#running--;
      this.startWaiting();
    }
    return this.#leave(session, lane, entry);
  }

  /** Those that wait for one of all places: one was given back, or there are more of them. */
  startWaiting(): void {
    while (this.#running < this.#most.running) {
      const next = this.#waiting.shift();
      if (next === undefined) return;
      this.#running++;
      next.start();
    }
  }

  #leave(session: string, lane: Lane, entry: Entry): void {
    const at = lane.entries.indexOf(entry);
    if (at >= 0) lane.entries.splice(at, 1);
    this.#pump(lane);
    const isEmpty = lane.active === null && lane.entries.length === 0;
    // A place may be given back twice, and by then the session may have another lane.
    if (isEmpty && this.#lanes.get(session) === lane) this.#lanes.delete(session);
  }
}
