import type { SendFor } from "../core/automation.ts";
import type { Caller, Outcome } from "../core/call.ts";
import { payloadOf } from "../core/call.ts";
import type { Journal } from "../core/journal.ts";
import type { Limits } from "../core/limits.ts";
import type { Makers } from "../core/maker.ts";
import type { RowChange } from "../core/operation.ts";
import type { Clock, Logger } from "../core/ports.ts";
import type { Stats } from "../core/stats.ts";
import { GatewayError } from "../protocol/errors.ts";
import type { Scope } from "../protocol/schema.ts";
import { planOf } from "./cron.ts";
import { rightsNow } from "./records.ts";
import type { ScheduleBook } from "./schedules.ts";
import type { ScheduleState, StoredSchedule } from "./stored-schedule.ts";
import { isAhead, isDone, isSame } from "./stored-schedule.ts";

/** How late the jump of a wall clock may be noticed. */
const LOOK_MS = 15_000;
/** What could not be said is tried again so soon, doubled each time. */
const RETRY_MS = 1_000;
const RETRY_MAX_MS = 60_000;
/** How long it is tried. */
const GIVE_UP_MS = 15 * 60_000;
/** How many are said at once. */
const AT_ONCE = 16;
const REASON_CHARS = 300;

export interface SchedulerOptions {
  readonly book: ScheduleBook;
  readonly clock: Clock;
  readonly log: Logger;
  readonly journal: Pick<Journal, "append">;
  readonly limits: Pick<Limits, "schedule_catch_up">;
  readonly send: SendFor;
  readonly makers: Makers;
  readonly stats: Pick<Stats, "moments">;
  /** Whether a run has not ended. */
  readonly isOpen: (run_id: string) => boolean | Promise<boolean>;
}

type Last = NonNullable<ScheduleState["last"]>;

/**
 * Says what is due. That a moment is used up is written in the transaction of its message, so that it is said once, whenever
 * the process dies; where that is open, the same idempotency key finds it.
 */
export class Scheduler {
  readonly #options: SchedulerOptions;
  readonly #running = new Map<string, Promise<void>>();
  /** What could not be said: when it is tried again, and how often it was. */
  readonly #failing = new Map<
    string,
    { readonly until: number; readonly tries: number; readonly since: number }
  >();
  readonly #signal = new AbortController().signal;
  #cancel: (() => void) | null = null;
  #isOpen = false;
  /** What the clock said when all were looked at last. */
  #seen = Number.POSITIVE_INFINITY;

  constructor(options: SchedulerOptions) {
    this.#options = options;
    options.book.onChange = () => this.#arm();
  }

  /** How many could not be said, and are tried again. */
  get failing(): number {
    return this.#failing.size;
  }

  /** Once everything can be said. */
  start(): void {
    this.#isOpen = true;
    // Another node may have said what is due meanwhile, by its own clock.
    this.#seen = Number.POSITIVE_INFINITY;
    this.#look();
  }

  /** Begins nothing more; resolves when what was begun is over. Idempotent. */
  async stop(): Promise<void> {
    this.#isOpen = false;
    this.#cancel?.();
    this.#cancel = null;
    await Promise.allSettled(this.#running.values());
  }

  /** Says it now, whatever is due. Never rejects. */
  async run(schedule: StoredSchedule): Promise<Outcome> {
    const rights = rightsNow(this.#options.makers, schedule);
    return typeof rights === "string"
      ? { ok: false, error: suspended(rights) }
      : this.#say(schedule, rights, {});
  }

  #arm(): void {
    this.#cancel?.();
    this.#cancel = null;
    if (!this.#isOpen) return;
    const { book, clock } = this.#options;
    for (const id of this.#failing.keys()) if (!book.has(id)) this.#failing.delete(id);
    const now = clock.now();
    let wait = LOOK_MS;
    // Where as many are said as may be at once, the end of one is what to wait for.
    const isFull = this.#running.size >= AT_ONCE;
    for (const schedule of isFull ? [] : book.every()) {
      const { next_at } = book.state(schedule);
      if (!schedule.enabled || next_at === null || this.#running.has(schedule.id)) continue;
      const at = Math.max(next_at, this.#failing.get(schedule.id)?.until ?? 0);
      wait = Math.min(wait, Math.max(at - now, 1));
    }
    this.#cancel = clock.after(wait, () => this.#look());
  }

  #look(): void {
    const { book, clock } = this.#options;
    const now = clock.now();
    const isSetBack = now < this.#seen;
    for (const schedule of book.every()) {
      const { id } = schedule;
      const state = book.state(schedule);
      if (this.#running.size >= AT_ONCE) return this.#arm();
      if (this.#running.has(id)) continue;
      if (isSetBack && isAhead(schedule, state, now))
        this.#begin(schedule, () => this.#reckon(schedule, state));
      if (isDone(schedule, state, now)) this.#begin(schedule, () => this.#drop(schedule));
      if (!schedule.enabled || state.next_at === null || state.next_at > now) continue;
      if ((this.#failing.get(id)?.until ?? 0) > now) continue;
      this.#begin(schedule, () => this.#come(schedule, state, state.next_at ?? now));
    }
    this.#seen = now;
    return this.#arm();
  }

  #begin({ id }: StoredSchedule, work: () => Promise<void>): void {
    const over = work()
      .catch((error: unknown) => {
        this.#options.log.error({ schedule_id: id, err: error }, "a schedule failed unexpectedly");
        this.#again(id);
      })
      .finally(() => {
        this.#running.delete(id);
        // In a turn of its own: what is due again at once must not keep others waiting.
        this.#arm();
      });
    this.#running.set(id, over);
  }

  /** The clock was far ahead when its next moment was reckoned. */
  async #reckon(schedule: StoredSchedule, state: ScheduleState): Promise<void> {
    const { book, clock } = this.#options;
    const release = book.hold(schedule);
    // Whoever changes it has it reckoned anew.
    if (release === null) return;
    const next = { ...state, next_at: book.calendar(schedule).next(clock.now()) };
    if (await this.#append([book.row(next)])) book.committed(next);
    // All are looked at once more.
    else this.#seen = Number.POSITIVE_INFINITY;
    release();
  }

  /** A moment has come. */
  async #come(schedule: StoredSchedule, state: ScheduleState, next_at: number): Promise<void> {
    const { book, clock, limits, isOpen, makers } = this.#options;
    const release = book.hold(schedule);
    // Somebody changes it: then it is looked at again.
    if (release === null) return this.#later(schedule.id, RETRY_MS / 10);
    try {
      const plan = planOf(
        book.calendar(schedule),
        next_at,
        clock.now(),
        schedule.missed,
        limits.schedule_catch_up,
        this.#failing.get(schedule.id)?.since,
      );
      const { due, next } = plan;
      const used = (last: Last): ScheduleState => ({ ...state, next_at: next, last });
      if (due === null) return await this.#write(used({ due_at: next_at, status: "missed" }));
      const rights = rightsNow(makers, schedule);
      if (typeof rights === "string")
        return await this.#write(used({ due_at: due, status: "skipped", reason: rights }));
      const { run_id } = state.last ?? {};
      if (schedule.overlap === "skip" && run_id !== undefined && (await isOpen(run_id))) {
        // It stays the one that is waited for.
        const reason = "the run before it was not over";
        return await this.#write(used({ ...state.last, due_at: due, status: "skipped", reason }));
      }
      return await this.#send(schedule, rights, { due, used });
    } finally {
      release();
    }
  }

  async #send(
    schedule: StoredSchedule,
    rights: readonly Scope[],
    { due, used }: { readonly due: number; readonly used: (last: Last) => ScheduleState },
  ): Promise<void> {
    const { book, clock } = this.#options;
    let written: ScheduleState | null = null;
    const besides: Caller["besides"] = ({ run_id }, session_id) => {
      written = used({
        due_at: due,
        status: "sent",
        session_id,
        ...(typeof run_id === "string" && { run_id }),
      });
      return [book.row(written)];
    };
    const outcome = await this.#say(schedule, rights, { due, besides });
    if (outcome.ok) {
      const { session_id, run_id } = payloadOf(outcome) as { session_id: string; run_id: string };
      const said = used({ due_at: due, status: "sent", session_id, run_id });
      // Where it had been said before, or another node said it, nothing was written now.
      if (written !== null && isSame(written, said)) return this.#committed(written);
      return this.#write(said);
    }
    const { error } = outcome;
    const { since = clock.now() } = this.#failing.get(schedule.id) ?? {};
    if (error.retryable && clock.now() - since <= GIVE_UP_MS) return this.#again(schedule.id);
    this.#tell(schedule, error);
    const reason = `${error.reason}: ${error.message}`.slice(0, REASON_CHARS);
    return this.#write(used({ due_at: due, status: "failed", reason }));
  }

  #say(
    schedule: StoredSchedule,
    scopes: readonly Scope[],
    { due, besides }: { readonly due?: number; readonly besides?: Caller["besides"] },
  ): Promise<Outcome> {
    const { id, owner, name, session_id, message, model, on_busy } = schedule;
    const from = { client_id: `schedule:${name === "" ? id : name}`, remote: "local", signal: this.#signal };
    return this.#options.send(
      { owner, scopes },
      { ...from, ...(besides !== undefined && { besides }) },
      {
        message,
        subscribe: false,
        metadata: { schedule: id, ...(due !== undefined && { due_at: due }) },
        ...(session_id !== null && { session_id }),
        ...(model !== null && { model }),
        ...(on_busy !== null && { on_busy }),
        ...(due !== undefined && { idempotency_key: `schedule:${id}:${due}` }),
      },
    );
  }

  #later(id: string, wait_ms: number): void {
    const now = this.#options.clock.now();
    this.#failing.set(id, { until: now + wait_ms, since: now, tries: 0 });
  }

  /** It is tried once more, each time after a longer while. */
  #again(id: string): void {
    const now = this.#options.clock.now();
    const { since, tries } = this.#failing.get(id) ?? { since: now, tries: 0 };
    const until = now + Math.min(RETRY_MS * 2 ** tries, RETRY_MAX_MS);
    this.#failing.set(id, { until, since, tries: tries + 1 });
  }

  /** What became of a moment for which nothing is said. Where storage refuses it, it is looked at again. */
  async #write(state: ScheduleState): Promise<void> {
    const { book } = this.#options;
    const isWritten = await this.#append([book.row(state)]);
    if (isWritten) this.#committed(state);
    else this.#later(state.id, RETRY_MS);
  }

  #committed(state: ScheduleState): void {
    this.#options.book.committed(state);
    this.#failing.delete(state.id);
    const { last } = state;
    if (last !== null && last !== undefined) this.#options.stats.moments[last.status]++;
  }

  async #drop(schedule: StoredSchedule): Promise<void> {
    const { book } = this.#options;
    if (book.isChanging(schedule)) return;
    const change = book.drop(schedule);
    if (await this.#append(change.rows)) change.commit();
    else change.undo();
  }

  #append(rows: readonly RowChange[]): Promise<boolean> {
    return new Promise((resolve) => {
      const settle = ({ ok }: { readonly ok: boolean }): void => resolve(ok);
      this.#options.journal.append({ session: null, run: null, ack: true, events: [], rows, settle });
    });
  }

  #tell({ id, owner }: StoredSchedule, error: GatewayError): void {
    const about = { schedule_id: id, user: owner, code: error.reason };
    this.#options.log.warn(about, "a schedule could not say its message");
  }
}

function suspended(why: string): GatewayError {
  return new GatewayError("CONFLICT", `nothing is said: ${why}`, { details: { kind: "state" } });
}
