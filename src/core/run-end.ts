import type { EventMessage, EventRun, Usage } from "../protocol/entities.ts";
import type { Appended } from "./append.ts";
import type { Ending } from "./ending.ts";
import { endOf } from "./ending.ts";
import type { Journal } from "./journal.ts";
import type { Limits } from "./limits.ts";
import type { Covers, NewEvent, RowChange } from "./operation.ts";
import type { Clock } from "./ports.ts";
import type { RunLog } from "./run-log.ts";
import type { SessionRef } from "./session.ts";
import { lengthUtf8 } from "./text.ts";
import type { MessageWriter } from "./writer.ts";

export interface EndDeps {
  readonly journal: Journal;
  readonly clock: Clock;
  readonly limits: Limits;
  /** Lowercase hex of the SHA-256 of the text's UTF-8. */
  readonly sha256: (text: string) => string;
}

/** A run as it is when its end is made. */
export interface RunState {
  readonly run: EventRun;
  readonly ending: Ending;
  readonly usage: Usage | undefined;
  readonly writer: MessageWriter | null;
  /** What its message is a summary of, where it is one. */
  readonly covers: Covers | undefined;
}

export interface EndOptions {
  readonly session: SessionRef;
  readonly log: RunLog;
  readonly state: () => RunState;
  /** The log did not take it: the run ends in another way. */
  readonly refused: (outcome: Extract<Appended, { ok: false }>) => void;
  /** The end is committed, or there can be none. Called once. */
  readonly done: (run: EventRun) => void;
}

/** How long a run whose end the store will not take waits before it tries again. */
const RETRY_MS = 1_000;

/** Writes the one operation that ends a run, again until the log has it. */
export class RunEnd {
  readonly #deps: EndDeps;
  readonly #options: EndOptions;
  #isBegun = false;

  constructor(deps: EndDeps, options: EndOptions) {
    this.#deps = deps;
    this.#options = options;
  }

  get isBegun(): boolean {
    return this.#isBegun;
  }

  /** Appends the end. Idempotent. */
  begin(): void {
    if (this.#isBegun) return;
    this.#isBegun = true;
    const { log, state } = this.#options;
    if (log.isBroken) return void this.#fromLog();
    const { writer, run } = state();
    const last = writer?.finish() ?? { events: [], rows: [] };
    this.#append(run, writer === null ? [] : [writer.message], last.events, last.rows);
    return undefined;
  }

  /** The log lacks something the run has: the end is made from what the log has. */
  async #fromLog(): Promise<void> {
    const { journal } = this.#deps;
    const { session, state, done } = this.#options;
    const tail = await journal.tails.pin(session, "run").catch(() => null);
    const { run } = state();
    if (tail === null) return done(run);
    const open = [...tail.open.values()].map((each) => each.message);
    journal.tails.release(session.id);
    const mine = open.filter((message) => message.run_id === run.run_id);
    const { message_id, ...bare } = run;
    const kept = mine.length === 0 || message_id === undefined ? bare : { ...bare, message_id };
    this.#append(kept, mine, [], []);
    return undefined;
  }

  #append(
    run: EventRun,
    open: readonly EventMessage[],
    deltas: readonly NewEvent[],
    rows: readonly RowChange[],
  ): void {
    const { clock, limits, sha256 } = this.#deps;
    const { log, state } = this.#options;
    const { ending, usage, covers } = state();
    const end = endOf(ending, {
      at: clock.now(),
      run,
      open,
      deltas,
      ...(usage !== undefined && { usage }),
      ...(covers !== undefined && { covers }),
      sha256,
      inline_bytes: limits.completed_inline_bytes,
      lengthUtf8,
    });
    log.end(end.events, [...rows, ...end.rows], (outcome) => this.#settled(outcome, end.run));
  }

  #settled(outcome: Appended, ended: EventRun): void {
    const { done, refused, state } = this.#options;
    if (outcome.ok) return done(ended);
    const { reason } = outcome;
    if (reason === "gone" || reason === "unknown" || reason === "stopped") return done(state().run);
    // Skipped: an earlier operation failed, and was told so. Otherwise it is the end itself that has too much.
    if (reason !== "skipped") refused(outcome);
    const soon = reason === "skipped" || reason === "full";
    this.#deps.clock.after(soon ? 0 : RETRY_MS, () => void this.#fromLog());
    return undefined;
  }
}
