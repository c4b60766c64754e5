import type { EventRun } from "../protocol/entities.ts";
import type { GatewayError } from "../protocol/errors.ts";
import type { Asking, RunKind } from "./asking.ts";
import { asks, unfinished } from "./asking.ts";
import type { Budget } from "./budget.ts";
import { createBudget } from "./budget.ts";
import type { Ending } from "./ending.ts";
import { nothingToCompact } from "./summary.ts";
import type { Appended } from "./append.ts";
import type { LaneRun } from "./lane.ts";
import { answerRefused, runBroken, runTooLong } from "./outage.ts";
import type { ToolCall } from "./ports.ts";
import type { RunState } from "./run-end.ts";
import { RunEnd } from "./run-end.ts";
import { RunAccount } from "./run-account.ts";
import { RunLog } from "./run-log.ts";
import type { RunnerDeps } from "./runner-deps.ts";
import type { SessionRef } from "./session.ts";
import { Steering } from "./steering.ts";
import { ToolRound } from "./tool-round.ts";
import type { Turn, TurnEnd } from "./turn.ts";
import { silent } from "./turn.ts";
import { Turns } from "./turns.ts";
import { tokensOf, withinWindow } from "./window.ts";

/**
 * One run: asks the model, calls the tools it names, asks again, and writes all of it into the log. Ends exactly once,
 * by one operation, after which it appends nothing.
 */
export class Runner implements LaneRun {
  readonly session: SessionRef;
  readonly kind: RunKind;
  /** Who asked for it, and uses what it uses. */
  readonly user: string;
  readonly ended: Promise<void>;
  /** Messages that are put into the run while it runs. */
  readonly steering = new Steering();
  readonly #deps: RunnerDeps;
  readonly #log: RunLog;
  readonly #abort = new AbortController();
  readonly #budget: Budget;
  readonly #turns: Turns;
  #run: EventRun;
  readonly #account: RunAccount;
  /** What answered last: not what was asked, where that failed. */
  #model: string | undefined;
  #asking: Asking | null = null;
  #turn: Turn | null = null;
  #round: ToolRound | null = null;
  #isSummed = false;
  /** Set by whatever decides first how the run ends. */
  #ending: Ending | null = null;
  readonly #end: RunEnd;
  #started = false;
  #isEnded = false;
  #resolveEnded: () => void = () => undefined;

  constructor(deps: RunnerDeps, session: SessionRef, run: EventRun, kind: RunKind, user: string) {
    this.#deps = deps;
    this.session = session;
    this.kind = kind;
    this.user = user;
    this.#run = run;
    this.#account = new RunAccount(deps.ledger, user);
    this.#budget = createBudget({ ...deps.budget, clock: deps.clock, spending: deps.ledger.spending, user });
    const { journal, limits } = deps;
    const onRefused = (outcome: Extract<Appended, { ok: false }>): void => this.#onRefused(outcome);
    this.#log = new RunLog(journal, session, run.run_id, limits.run_held_bytes, {
      refused: onRefused,
      committed: () => {
        if (this.#ending === null) this.#turn?.writer?.committed();
      },
    });
    this.#turns = new Turns({
      ...deps,
      session,
      log: this.#log,
      signal: this.#abort.signal,
      run: () => this.#run,
      onMessage: (message_id, model) => {
        const { message_id: _before, ...run } = this.#run;
        this.#run = message_id === undefined ? run : { ...run, message_id };
        this.#model = model;
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
    const cancel = clock.after(run_timeout_ms, () => this.#fail(runTooLong(run_timeout_ms)));
    try {
      this.#begin();
      const { hooks } = this.#deps;
      const no = hooks.has.before_run
        ? await hooks.beforeRun(this.session, this.#run, this.#abort.signal)
        : null;
      if (no !== null) this.#fail(no);
      while (this.#ending === null) await this.#step();
    } catch (error) {
      log.error({ run_id: this.run_id, err: error }, "a run failed unexpectedly");
      this.#fail(runBroken());
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
    const over = await this.#budget.turn();
    if (over !== null) return this.#fail(over);
    const asking = await this.#ask();
    if (this.#ending !== null) return undefined;
    if (asking === null) return this.#fail(nothingToCompact());
    this.steering.seen(asking.told);
    const { turn, end } = await this.#take(asking, this.kind === "summary" ? "system" : "assistant");
    if (this.#ending !== null) return undefined;
    if (end.kind === "failed") return this.#fail(end.error);
    if (end.kind === "aborted") return void (this.#ending ??= { status: "aborted" });
    return this.#answered(turn, end.finish_reason);
  }

  /** What the model is asked next. A conversation that has grown past its bound is summed up first, once in a run. */
  async #ask(): Promise<Asking | null> {
    const { context_tokens } = this.#deps;
    const asking = await this.#asks(this.kind);
    const fits = asking === null || context_tokens === 0 || tokensOf(asking.messages) <= context_tokens;
    if (fits || this.kind === "summary") return asking;
    const latest = this.#isSummed ? asking : await this.#askSummed();
    return latest && { ...latest, messages: withinWindow(latest.messages, context_tokens) };
  }

  async #askSummed(): Promise<Asking | null> {
    await this.#sumUp();
    return this.#ending === null ? this.#asks("answer") : null;
  }

  /** A summary of what was said before this run; where there can be none, the oldest messages are only not sent. */
  async #sumUp(): Promise<void> {
    this.#isSummed = true;
    const asking = await this.#asks("summary");
    if (asking === null || this.#ending !== null) return;
    const { turn, end } = await this.#take(asking, "system");
    if (this.#ending !== null) return;
    const isWhole = end.kind === "done" && unfinished(turn.writer?.message, end.finish_reason) === null;
    if (isWhole) return void (await this.#complete(turn));
    this.#deps.log.warn({ run_id: this.run_id, end: end.kind }, "a conversation could not be summed up");
    this.#turns.drop(turn, "no summary");
    this.#turn = null;
  }

  #asks(kind: RunKind): Promise<Asking | null> {
    // A summary inside a run that answers leaves out what that run is about.
    const inner = kind !== this.kind;
    return asks(kind, this.#deps, this.session, this.run_id, inner);
  }

  async #take(asking: Asking, role: "assistant" | "system"): Promise<{ turn: Turn; end: TurnEnd }> {
    this.#asking = asking;
    const turn = this.#turns.make(asking, role);
    this.#turn = turn;
    const end = await turn.run();
    this.#account.add(turn.used);
    return { turn, end };
  }

  /** The model has said all it wanted to: it called tools, it was told something more meanwhile, or the run is over. */
  async #answered(turn: Turn, finish_reason: string): Promise<void> {
    if (this.kind === "summary") {
      const error = unfinished(turn.writer?.message, finish_reason);
      if (error !== null) return this.#fail(error);
    }
    turn.begin();
    const over = this.#budget.spent(this.#account.usage, turn.calls.length);
    if (over !== null) return this.#fail(over);
    if (turn.calls.length > 0) return this.#call(turn);
    while (this.steering.isPending && this.#ending === null) await this.steering.settled();
    if (this.#ending !== null) return undefined;
    if (this.steering.isUnseen) return void (await this.#complete(turn));
    this.#ending = { status: "completed", finish_reason };
    return undefined;
  }

  #complete(turn: Turn, calls: readonly ToolCall[] = []): Promise<boolean> {
    this.#turn = null;
    return this.#account.settle((owed) => this.#turns.complete(turn, calls, this.#asking?.covers, owed));
  }

  async #call(turn: Turn): Promise<void> {
    const { message_id } = turn.begin().message;
    const calls = this.#budget.named(turn.calls);
    const inLog = await this.#complete(turn, calls);
    // From here on the calls are owed results, whether they are made or not.
    this.#round = this.#newRound(message_id, calls);
    if (inLog && this.#ending === null) await this.#round.run();
    if (this.#ending === null) this.#round = null;
  }

  #newRound(message_id: string, calls: readonly ToolCall[]): ToolRound {
    const { session, run_id } = this;
    const { signal } = this.#abort;
    const refused = this.#budget.refusal;
    return new ToolRound(this.#deps, { session, run_id, message_id, calls, log: this.#log, signal, refused });
  }

  #stopAsking(): void {
    this.#abort.abort();
    this.#log.wake();
  }

  #state(): RunState {
    return {
      run: { ...this.#run, model: this.#model ?? this.#run.model },
      ending: this.#ending ?? { status: "failed", error: silent().toBody() },
      usage: this.#turn?.usage,
      run_usage: this.#account.usage,
      owed: this.#account.owed,
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
    // An answer that is not whole in the log did not complete, whatever the model said meanwhile.
    if (this.#ending?.status === "completed") this.#ending = null;
    this.#fail(answerRefused(outcome, this.#deps.limits));
  }

  #done(run: EventRun): void {
    this.#run = run;
    this.#isEnded = true;
    this.#deps.journal.forget(this.run_id);
    this.#deps.onEnded(run);
    this.#resolveEnded();
  }
}
