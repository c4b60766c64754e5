import type { EventRun, Usage } from "../protocol/entities.ts";
import { GatewayError } from "../protocol/errors.ts";
import type { Asking, AskingDeps, RunKind } from "./asking.ts";
import { asks, unfinished } from "./asking.ts";
import type { Budget, BudgetBounds } from "./budget.ts";
import { createBudget } from "./budget.ts";
import { completed } from "./ending.ts";
import type { Ending } from "./ending.ts";
import { newId } from "./id.ts";
import { nothingToCompact } from "./summary.ts";
import type { Appended } from "./append.ts";
import type { LaneRun } from "./lane.ts";
import { quotaReached } from "./outage.ts";
import type { Logger, ModelRouter } from "./ports.ts";
import type { EndDeps, RunState } from "./run-end.ts";
import { RunEnd } from "./run-end.ts";
import { RunLog } from "./run-log.ts";
import type { SessionRef } from "./session.ts";
import { Steering } from "./steering.ts";
import { lengthUtf8 } from "./text.ts";
import type { ToolDeps } from "./tool-round.ts";
import { ToolRound } from "./tool-round.ts";
import { addUsage, silent, Turn } from "./turn.ts";
import { MessageWriter } from "./writer.ts";

export interface RunnerDeps extends EndDeps, AskingDeps, ToolDeps {
  readonly router: ModelRouter;
  readonly log: Logger;
  readonly run_timeout_ms: number;
  readonly budget: BudgetBounds;
  /** Tokens a run used, once it ended. */
  readonly onEnded: (run: EventRun) => void;
  /** A run of that user fails because it reached the bound of an option. */
  readonly limited: (option: string, user: string) => void;
}

/**
 * One run: asks the model, calls the tools it names, asks again, and writes all of it into the log. Ends exactly once,
 * by one operation, after which it appends nothing.
 */
export class Runner implements LaneRun {
  readonly session: SessionRef;
  readonly kind: RunKind;
  readonly ended: Promise<void>;
  /** Messages that are put into the run while it runs. */
  readonly steering = new Steering();
  readonly #deps: RunnerDeps;
  readonly #log: RunLog;
  readonly #abort = new AbortController();
  readonly #budget: Budget;
  #run: EventRun;
  #usage: Usage | undefined;
  #asking: Asking | null = null;
  #turn: Turn | null = null;
  #round: ToolRound | null = null;
  /** Set by whatever decides first how the run ends. */
  #ending: Ending | null = null;
  readonly #end: RunEnd;
  #started = false;
  #isEnded = false;
  #resolveEnded: () => void = () => undefined;

  constructor(deps: RunnerDeps, session: SessionRef, run: EventRun, kind: RunKind) {
    this.#deps = deps;
    this.session = session;
    this.kind = kind;
    this.#run = run;
    this.#budget = createBudget(deps.budget);
    const { journal, limits } = deps;
    const onRefused = (outcome: Extract<Appended, { ok: false }>): void => this.#onRefused(outcome);
    this.#log = new RunLog(journal, session, run.run_id, limits.run_held_bytes, {
      refused: onRefused,
      committed: () => {
        if (this.#ending === null) this.#turn?.writer?.committed();
      },
    });
    this.#end = new RunEnd(deps, {
      session,
      log: this.#log,
      state: () => this.#state(),
      refused: onRefused,
      done: (ended) => this.#done(ended),
    });
    this.ended = new Promise((resolve) => (this.#resolveEnded = resolve));
  }

  get run_id(): string {
    return this.#run.run_id;
  }
  /** As it is now: what a reader of the whole log would know. */
  get run(): EventRun {
    return this.#run;
  }
  get isEnded(): boolean {
    return this.#isEnded;
  }
  get isStarted(): boolean {
    return this.#started;
  }
  /** Whether a message may be put into it now. Then nothing else may come between that and its way into the log. */
  get takesMessages(): boolean {
    return this.kind === "answer" && this.#started && this.#ending === null && !this.#end.isBegun;
  }

  start(): void {
    if (this.#end.isBegun) return;
    this.#started = true;
    void this.#work();
  }

  interrupt(): void {
    this.stop({ status: "aborted", reason: "interrupt" });
  }

  /** Ends the run, at whatever point it is; the first reason counts. `ended` tells when that is committed. */
  stop(ending: Ending): void {
    this.#ending ??= ending;
    this.#stopAsking();
    if (!this.#started) this.#end.begin();
  }

  async #work(): Promise<void> {
    const { clock, run_timeout_ms, log } = this.#deps;
    const cancel = clock.after(run_timeout_ms, () => {
      const secs = Math.round(run_timeout_ms / 1000);
      this.#fail(new GatewayError("TIMEOUT", `the run took longer than ${secs} s (agent.run_timeout_secs)`));
    });
    try {
      this.#begin();
      while (this.#ending === null) await this.#step();
    } catch (error) {
      log.error({ run_id: this.run_id, err: error }, "a run failed unexpectedly");
      this.#fail(
        new GatewayError("INTERNAL_ERROR", "the run failed unexpectedly; the log has it under its run_id"),
      );
    }
    cancel();
    this.#end.begin();
  }

  #begin(): void {
    const now = this.#deps.clock.now();
    this.#run = { ...this.#run, status: "running", started_at: now };
    const { run_id, model, created_at } = this.#run;
    const data = JSON.stringify(this.#run);
    this.#log.append(
      [{ type: "run.started", ts: now, run_id, payload: JSON.stringify({ run_id, model }) }],
      [{ kind: "run.put", run_id, status: "running", created_at, data }],
    );
  }

  /** One call of the model, and the calls of tools it makes. */
  async #step(): Promise<void> {
    const over = this.#budget.turn();
    if (over !== null) return this.#fail(over);
    this.#asking = await asks(this.kind, this.#deps, this.session, this.run_id);
    if (this.#asking === null) return this.#fail(nothingToCompact());
    this.steering.seen(this.#asking.told);
    if (this.#ending !== null) return undefined;
    const turn = this.#newTurn(this.#asking);
    this.#turn = turn;
    const end = await turn.run();
    this.#usage = addUsage(this.#usage, turn.usage);
    if (this.#ending !== null) return undefined;
    if (end.kind === "failed") return this.#fail(end.error);
    if (end.kind === "aborted") return void (this.#ending ??= { status: "aborted" });
    return this.#answered(turn, end.finish_reason);
  }

  #newTurn({ messages, tools }: Asking): Turn {
    const { clock, limits, router } = this.#deps;
    const { model } = this.#run;
    const request = { model, messages, tools, session_id: this.session.id, run_id: this.run_id };
    const { signal } = this.#abort;
    const message = (): MessageWriter => this.#newWriter();
    return new Turn({ clock, limits, router, log: this.#log, request, signal, message });
  }

  /** The model has said all it wanted to: it called tools, it was told something more meanwhile, or the run is over. */
  async #answered(turn: Turn, finish_reason: string): Promise<void> {
    if (this.kind === "summary") {
      const error = unfinished(turn.writer?.message, finish_reason);
      if (error !== null) return this.#fail(error);
    }
    turn.begin();
    const over = this.#budget.spent(this.#usage, turn.calls.length);
    if (over !== null) return this.#fail(over);
    if (turn.calls.length > 0) return this.#call(turn);
    while (this.steering.isPending && this.#ending === null) await this.steering.settled();
    if (this.#ending !== null) return undefined;
    if (this.steering.isUnseen) return void (await this.#complete(turn));
    this.#ending = { status: "completed", finish_reason };
    return undefined;
  }

  /** Completes the turn's message, with its calls, before anything is done that it asks for. False: it is not in the log. */
  async #complete(turn: Turn): Promise<boolean> {
    const { clock, limits, sha256 } = this.#deps;
    const { events, rows, message } = turn.begin().finishWith(turn.calls);
    const done = completed(
      { ...message, status: "complete" },
      {
        at: clock.now(),
        run: this.#run,
        usage: turn.usage,
        covers: this.#asking?.covers,
        sha256,
        inline_bytes: limits.completed_inline_bytes,
        lengthUtf8,
      },
    );
    this.#turn = null;
    return this.#log.durable([...events, done.event], [...rows, done.row]);
  }

  async #call(turn: Turn): Promise<void> {
    const { message_id } = turn.begin().message;
    const calls = this.#budget.named(turn.calls);
    turn.calls.splice(0, turn.calls.length, ...calls);
    const inLog = await this.#complete(turn);
    // From here on the calls are owed results, whether they are made or not.
    this.#round = this.#newRound(message_id, calls);
    if (inLog && this.#ending === null) await this.#round.run();
    if (this.#ending === null) this.#round = null;
  }

  #newRound(message_id: string, calls: Turn["calls"]): ToolRound {
    const { session, run_id } = this;
    const { signal } = this.#abort;
    const refused = this.#budget.refusal;
    return new ToolRound(this.#deps, { session, run_id, message_id, calls, log: this.#log, signal, refused });
  }

  #stopAsking(): void {
    this.#abort.abort();
    this.#log.wake();
  }

  #newWriter(): MessageWriter {
    const { clock, limits } = this.#deps;
    const message_id = newId("msg", clock.now());
    const { run_id, model } = this.#run;
    this.#run = { ...this.#run, message_id };
    return new MessageWriter({
      clock,
      limits,
      run_id,
      message_id,
      role: this.kind === "summary" ? "system" : "assistant",
      model,
      busy: () => this.#log.isBusy,
      append: (events, rows) => this.#log.append(events, rows),
    });
  }

  #state(): RunState {
    return {
      run: this.#run,
      ending: this.#ending ?? { status: "failed", error: silent().toBody() },
      usage: this.#turn?.usage,
      run_usage: this.#usage,
      writer: this.#turn?.writer ?? null,
      unanswered: this.#round?.unanswered ?? [],
      approvals: this.#round?.open ?? [],
      covers: this.#asking?.covers,
    };
  }

  #fail(error: GatewayError): void {
    if (this.#ending === null && error.limit !== undefined)
      this.#deps.limited(error.limit, this.session.owner);
    this.#ending ??= { status: "failed", error: error.toBody() };
    this.#stopAsking();
  }

  #onRefused(outcome: Extract<Appended, { ok: false }>): void {
    const { reason, what = "" } = outcome;
    const error =
      reason === "full"
        ? quotaReached(what, this.#deps.limits)
        : new GatewayError("UNAVAILABLE", "the log did not take the answer", { details: { kind: reason } });
    // An answer that is not whole in the log did not complete, whatever the model said meanwhile.
    if (this.#ending?.status === "completed") this.#ending = null;
    this.#fail(error);
  }

  #done(run: EventRun): void {
    this.#run = run;
    this.#isEnded = true;
    this.#deps.journal.forget(this.run_id);
    this.#deps.onEnded(run);
    this.#resolveEnded();
  }
}
