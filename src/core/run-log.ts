import type { Appended } from "./append.ts";
import type { Journal } from "./journal.ts";
import type { NewEvent, RowChange } from "./operation.ts";
import type { SessionRef } from "./session.ts";

type Refused = Extract<Appended, { ok: false }>;

/** Both are called inside the block that publishes. */
export interface RunLogListener {
  /** All that was appended so far is committed. */
  committed(): void;
  /** An operation failed; once. */
  refused(outcome: Refused): void;
}

/** The part of the log one run writes: its appends in order, and how much of them is not committed yet. */
export class RunLog {
  readonly #journal: Journal;
  readonly #session: SessionRef;
  readonly #run_id: string;
  readonly #held_bytes: number;
  readonly #told: RunLogListener;
  #held = 0;
  #room: (() => void) | null = null;
  #broken = false;

  constructor(
    journal: Journal,
    session: SessionRef,
    run_id: string,
    held_bytes: number,
    told: RunLogListener,
  ) {
    this.#journal = journal;
    this.#session = session;
    this.#run_id = run_id;
    this.#held_bytes = held_bytes;
    this.#told = told;
  }

  /** An operation failed: what the run has in memory is not what is in the log, and nothing more is taken but its end. */
  get isBroken(): boolean {
    return this.#broken;
  }

  /** Not acknowledged to anybody, so without an fsync of its own. */
  append(events: readonly NewEvent[], rows: readonly RowChange[]): void {
    this.#append(events, rows, false, () => undefined);
  }

  /** Resolves once it is on disk, true, or the log did not take it, false. */
  durable(events: readonly NewEvent[], rows: readonly RowChange[]): Promise<boolean> {
    return new Promise((resolve) => this.#append(events, rows, true, resolve));
  }

  #append(
    events: readonly NewEvent[],
    rows: readonly RowChange[],
    ack: boolean,
    settled: (ok: boolean) => void,
  ): void {
    if (this.#broken) return settled(false);
    let bytes = 0;
    for (const event of events) bytes += event.payload.length;
    this.#held += bytes;
    const settle = (outcome: Appended): void => {
      this.#held -= bytes;
      if (this.#held <= this.#held_bytes) this.wake();
      settled(outcome.ok);
      if (outcome.ok) {
        if (this.#held === 0) this.#told.committed();
        return;
      }
      if (this.#broken) return;
      this.#broken = true;
      this.#told.refused(outcome);
    };
    this.#journal.append({ session: this.#session, run: this.#run_id, ack, events, rows, settle });
    return undefined;
  }

  /** The one operation after which the run appends nothing. */
  end(events: readonly NewEvent[], rows: readonly RowChange[], settle: (outcome: Appended) => void): void {
    const told = (outcome: Appended): void => {
      if (!outcome.ok) this.#broken = true;
      settle(outcome);
    };
    const { session, run_id } = { session: this.#session, run_id: this.#run_id };
    this.#journal.append({ session, run: run_id, ack: true, events, rows, final: true, settle: told });
  }

  /** Whether something that was appended is not committed. */
  get isBusy(): boolean {
    return this.#held > 0;
  }

  /** Whether more is held than the run may have uncommitted. */
  get isFull(): boolean {
    return this.#held > this.#held_bytes;
  }

  /** Resolves when it is not full any more, or wake() is called. */
  async room(): Promise<void> {
    await new Promise<void>((resolve) => (this.#room = resolve));
    this.#room = null;
  }

  wake(): void {
    this.#room?.();
  }
}
