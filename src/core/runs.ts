import type { EventRun } from "../protocol/entities.ts";
import { GatewayError } from "../protocol/errors.ts";
import type { RunKind } from "./asking.ts";
import type { RequestMark } from "./call.ts";
import { endOf } from "./ending.ts";
import type { Ending } from "./ending.ts";
import type { Appended } from "./append.ts";
import type { Reservation } from "./lane.ts";
import { Lanes } from "./lane.ts";
import type { RunRow } from "./operation.ts";
import type { UnendedRun } from "./store.ts";
import type { RunnerDeps, RunSettings } from "./runner-deps.ts";
import { Runner } from "./runner.ts";
import type { SessionRef } from "./session.ts";
import type { Tail } from "./tail.ts";
import { leftOf } from "./left-over.ts";
import { lengthUtf8 } from "./text.ts";
import type { Tracing } from "./tracing.ts";

/** What the configuration says, read where it is used. */
export interface RunsSettings extends RunSettings {
  readonly max_concurrent_runs: number;
  readonly storage_stall_ms: number;
}

export interface RunsOptions extends Omit<RunnerDeps, "waiting" | "onEnded" | keyof RunSettings> {
  readonly settings: RunsSettings;
  /** A run is over, and its end in the log unless its session is gone. */
  readonly ended: (run: EventRun) => void;
  readonly tracing: Tracing;
}

/** A run that is in the log. */
export interface AcceptedRun {
  readonly session: SessionRef;
  readonly run: EventRun;
  /** Who asked for it. */
  readonly user: string;
  readonly kind?: RunKind;
  /** The request that asked for it. */
  readonly mark: RequestMark;
}

/** Ends written at start share groups of this many. */
const RECOVER_AT_ONCE = 200;

/** The runs of this process: accepts, finds and ends them. */
export class Runs {
  readonly lanes: Lanes;
  readonly #options: RunsOptions;
  readonly #deps: Omit<RunnerDeps, keyof RunSettings>;
  readonly #active = new Map<string, Runner>();
  /** Runs that another process left, whose ends are being written. */
  readonly #interrupting = new Map<string, Promise<void>>();
  #closing = false;
  readonly #cancel: () => void;

  constructor(options: RunsOptions) {
    this.#options = options;
    const { settings, limits } = options;
    this.lanes = new Lanes({
      get running() {
        return settings.max_concurrent_runs;
      },
      get queued() {
        return limits.queued_runs;
      },
    });
    this.#deps = {
      ...options,
      waiting: (session) => this.#waiting(session),
      onEnded: (run) => this.#onEnded(run),
    };
    this.#cancel = options.clock.every(1_000, () => this.#watchStorage());
  }

  get(run_id: string): Runner | undefined {
    return this.#active.get(run_id);
  }

  /** The run of a session that takes another message now; null: there is none. */
  steerable(session: string): Runner | null {
    const runner = this.#active.get(this.lanes.activeOf(session)?.run_id ?? "");
    return runner?.takesMessages === true ? runner : null;
  }

  /** Runs of a session that have not ended, the active one first. */
  of(session: string): Runner[] {
    return this.lanes.of(session).flatMap((run) => this.#active.get(run.run_id) ?? []);
  }

  /** Runs that have not ended. */
  all(): IterableIterator<Runner> {
    return this.#active.values();
  }

  /** Runs in the sessions of a user that have not ended. */
  ofOwner(user: string): Runner[] {
    return [...this.#active.values()].filter(({ session }) => session.owner === user);
  }

  /** Runs that a user asked for, in whosever session, that have not ended. */
  askedBy(user: string): Runner[] {
    return [...this.#active.values()].filter((runner) => runner.user === user);
  }

  /** A run that is committed, with the message it answers where there is one: goes when its turn comes. */
  accept(reservation: Reservation, { session, run, user, kind = "answer", mark }: AcceptedRun): Runner {
    const { tracing, log, settings } = this.#options;
    const { run_id } = run;
    const { request_id, trace } = mark;
    log.debug(
      { run_id, session_id: session.id, request_id, trace_id: trace?.trace_id },
      "a run was accepted",
    );
    tracing.run(run_id, session.id, trace);
    const runner = new Runner({ ...this.#deps, ...settings }, session, run, kind, user);
    this.#active.set(run.run_id, runner);
    reservation.commit(runner);
    // Accepted while the gateway stops: it is ended like those that waited.
    if (this.#closing) runner.stop({ status: "interrupted", reason: "shutdown" });
    return runner;
  }

  /** Ends runs and resolves when their ends are committed. */
  async stop(runners: readonly Runner[], ending: Ending): Promise<void> {
    for (const runner of runners) runner.stop(ending);
    await Promise.all(runners.map((runner) => runner.ended));
  }

  /**
   * Takes no more runs of a session and ends those it has, those on their way into the log too. Resolves, when their
   * ends are committed, with what lets the session have runs again.
   */
  async shut(session: string, ending: Ending): Promise<() => void> {
    const reopen = this.lanes.close(session);
    await this.lanes.reserved(session);
    await this.stop(this.of(session), ending);
    return reopen;
  }

  /** Runs that wait end at once; those that run may go on until close(). */
  drain(): void {
    this.#closing = true;
    for (const runner of this.#active.values()) {
      if (!runner.isStarted) runner.stop({ status: "interrupted", reason: "shutdown" });
    }
  }

  /** Resolves when no run is left. */
  async settled(): Promise<void> {
    while (this.#active.size > 0) await Promise.all([...this.#active.values()].map((runner) => runner.ended));
  }

  /** Ends what still runs. */
  async close(): Promise<void> {
    this.#closing = true;
    this.#cancel();
    await this.stop([...this.#active.values()], { status: "interrupted", reason: "shutdown" });
  }

  /**
   * Start-up: every run the last process left gets the end it is owed, made from what the log has. Resolves when all
   * ends are committed.
   */
  async recover(unended: readonly UnendedRun[]): Promise<void> {
    for (let from = 0; from < unended.length; from += RECOVER_AT_ONCE) {
      await this.endLeft(unended.slice(from, from + RECOVER_AT_ONCE).map(({ run }) => run));
    }
  }

  /** Ends those of these runs that are no runs of this process, with what the log has of them. */
  async endLeft(rows: readonly RunRow[]): Promise<void> {
    const left = rows.filter(({ run_id }) => !this.#active.has(run_id));
    await Promise.all(
      left.map(({ run_id, session, data }) => {
        const begun = this.#interrupting.get(run_id);
        if (begun !== undefined) return begun;
        const ended = this.#interrupt(session, JSON.parse(data) as EventRun).finally(() =>
          this.#interrupting.delete(run_id),
        );
        this.#interrupting.set(run_id, ended);
        return ended;
      }),
    );
  }

  async #interrupt(session_id: string, run: EventRun): Promise<void> {
    const { journal, store } = this.#options;
    const row = await store.session(session_id);
    if (row === null) return;
    const session: SessionRef = { id: row.id, owner: row.owner, name: row.name };
    const tail = await journal.tails.pin(session, "run");
    try {
      await this.#endNow(session, run, tail);
    } finally {
      journal.tails.release(session.id);
    }
  }

  async #endNow(session: SessionRef, run: EventRun, tail: Tail): Promise<void> {
    const { journal, store, clock, limits, sha256 } = this.#options;
    const left = await leftOf(run, session, tail, store);
    const write = (unanswered: readonly string[]): Promise<Appended> => {
      const { events, rows } = endOf(
        { status: "interrupted", reason: "restart" },
        {
          ...left,
          unanswered,
          at: clock.now(),
          run,
          session: session.id,
          deltas: [],
          rows: [],
          sha256,
          inline_bytes: limits.completed_inline_bytes,
          lengthUtf8,
        },
      );
      return new Promise((settle) => {
        journal.append({ session, run: run.run_id, ack: true, events, rows, final: true, settle });
      });
    };
    const first = await write(left.unanswered);
    // Results are messages, and a session may be full of them.
    const outcome = !first.ok && first.reason === "full" ? await write([]) : first;
    if (!outcome.ok)
      throw new GatewayError(
        "UNAVAILABLE",
        `the end of ${run.run_id} could not be written (${outcome.reason})`,
      );
  }

  #waiting(session: string): ReadonlySet<string> {
    const waiting = this.of(session).filter((runner) => !runner.isStarted);
    return new Set(waiting.map((runner) => runner.run_id));
  }

  #onEnded(run: EventRun): void {
    this.#active.delete(run.run_id);
    this.#options.ended(run);
    this.#options.tracing.ended(run.run_id);
  }

  /** A run is not kept for ever behind storage that does not come back; the end it is owed stays queued. */
  #watchStorage(): void {
    const { journal, clock, settings } = this.#options;
    const refused = journal.refused;
    if (refused === null || clock.monotonic() - refused.since < settings.storage_stall_ms) return;
    const error = new GatewayError("UNAVAILABLE", "storage refused writes for too long").toBody();
    for (const runner of this.#active.values()) runner.stop({ status: "failed", error });
  }
}
