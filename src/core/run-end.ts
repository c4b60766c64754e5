import type { Approval, EventRun, Usage } from "../protocol/entities.ts";
import type { Appended } from "./append.ts";
import type { EndContext, Ending } from "./ending.ts";
import { endOf } from "./ending.ts";
import type { Journal } from "./journal.ts";
import type { Limits } from "./limits.ts";
import { leftOf } from "./left-over.ts";
import type { Covers, RowChange } from "./operation.ts";
import type { Clock } from "./ports.ts";
import type { RunLog } from "./run-log.ts";
import type { SessionRef } from "./session.ts";
import type { Store } from "./store.ts";
import { lengthUtf8 } from "./text.ts";
import type { MessageWriter } from "./writer.ts";

export interface EndDeps {
  readonly store: Store;
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
  /** Of the call of the model that is under way. */
  readonly usage: Usage | undefined;
  /** Of all of them. */
  readonly run_usage: Usage | undefined;
  /** What it used that is not written yet. */
  readonly owed: readonly RowChange[];
  readonly writer: MessageWriter | null;
  /** Ids of calls without a result. */
  readonly unanswered: readonly string[];
  readonly approvals: readonly Approval[];
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
  /** The session takes no more messages. */
  #isFull = false;

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
    const { writer, run, unanswered, approvals } = state();
    const last = writer?.finish() ?? { events: [], rows: [] };
    this.#append({
      run,
      open: writer === null ? [] : [writer.message],
      deltas: last.events,
      rows: last.rows,
      unanswered,
      approvals,
    });
    return undefined;
  }

  /** The log lacks something the run has: the end is made from what the log has. */
  async #fromLog(): Promise<void> {
    const { journal, store } = this.#deps;
    const { session, state, done } = this.#options;
    const tail = await journal.tails.pin(session, "run").catch(() => null);
    const { run } = state();
    if (tail === null) return done(run);
    const left = await leftOf(run, session, tail, store).catch(() => null);
    journal.tails.release(session.id);
    // What the end has to say stands in the log alone, so a read that fails is done again.
    if (left === null) return this.#again(RETRY_MS);
    const { message_id, ...bare } = run;
    const kept = left.open.length === 0 || message_id === undefined ? bare : { ...bare, message_id };
    this.#append({ run: kept, deltas: [], rows: [], ...left });
    return undefined;
  }

  #append(end: Pick<EndContext, "run" | "open" | "deltas" | "rows" | "unanswered" | "approvals">): void {
    const { clock, limits, sha256 } = this.#deps;
    const { log, state, session } = this.#options;
    const { ending, usage, run_usage, covers, owed } = state();
    const { events, rows, run } = endOf(ending, {
      ...end,
      rows: [...end.rows, ...owed],
      // A result is a message, and would be one too many again.
      unanswered: this.#isFull ? [] : end.unanswered,
      at: clock.now(),
      session: session.id,
      usage,
      run_usage,
      covers,
      sha256,
      inline_bytes: limits.completed_inline_bytes,
      lengthUtf8,
    });
    log.end(events, rows, (outcome) => this.#settled(outcome, run));
  }

  #settled(outcome: Appended, ended: EventRun): void {
    const { done, refused, state } = this.#options;
    if (outcome.ok) return done(ended);
    const { reason } = outcome;
    // Elsewhere: the node that took the session ends its runs.
    if (["gone", "unknown", "stopped", "elsewhere"].includes(reason)) return done(state().run);
    // Skipped: an earlier operation failed, and was told so. Otherwise it is the end itself that has too much.
    if (reason !== "skipped") refused(outcome);
    if (reason === "full") this.#isFull = true;
    const soon = reason === "skipped" || reason === "full";
    return this.#again(soon ? 0 : RETRY_MS);
  }

  #again(wait_ms: number): void {
    this.#deps.clock.after(wait_ms, () => void this.#fromLog());
  }
}
