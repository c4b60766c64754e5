import type { EventRun, Usage } from "../protocol/entities.ts";
import { GatewayError } from "../protocol/errors.ts";
import type { Asking, RunKind } from "./asking.ts";
import { asks, unfinished } from "./asking.ts";
import type { Ending } from "./ending.ts";
import { newId } from "./id.ts";
import { nothingToCompact } from "./summary.ts";
import type { Appended } from "./append.ts";
import type { LaneRun } from "./lane.ts";
import { quotaReached } from "./outage.ts";
import type { Logger, ModelEvent, ModelRouter } from "./ports.ts";
import type { Store } from "./store.ts";
import type { EndDeps } from "./run-end.ts";
import { RunEnd } from "./run-end.ts";
import { RunLog } from "./run-log.ts";
import type { SessionRef } from "./session.ts";
import { lengthUtf8 } from "./text.ts";
import { MessageWriter } from "./writer.ts";

export interface RunnerDeps extends EndDeps {
  readonly store: Store;
  readonly router: ModelRouter;
  readonly log: Logger;
  readonly run_timeout_ms: number;
  /** The prompt of sessions without one of their own. */
  readonly system_prompt: string;
  /** Runs of the session that have not begun. */
  readonly waiting: (session: string) => ReadonlySet<string>;
  /** Tokens a run used, once it ended. */
  readonly onEnded: (run: EventRun) => void;
  /** A run of that user fails because it reached the bound of an option. */
  readonly limited: (option: string, user: string) => void;
}

/**
 * One run: asks the model and writes what it says into the log. Ends exactly once, by one operation, after which it
 * appends nothing.
 */
export class Runner implements LaneRun {
  readonly session: SessionRef;
  readonly kind: RunKind;
  readonly ended: Promise<void>;
  readonly #deps: RunnerDeps;
  readonly #log: RunLog;
  readonly #abort = new AbortController();
  #run: EventRun;
  #usage: Usage | undefined;
  #asking: Asking | null = null;
  #writer: MessageWriter | null = null;
  #bytes = 0;
  /** Set by whatever decides first how the run ends. */
  #ending: Ending | null = null;
  readonly #end: RunEnd;
  #started = false;
  #isEnded = false;
  #resolveEnded: () => void = () => undefined;
  /** Lets go of what the model is waited for. */
  #wake: () => void = () => undefined;

  constructor(deps: RunnerDeps, session: SessionRef, run: EventRun, kind: RunKind) {
    this.#deps = deps;
    this.session = session;
    this.kind = kind;
    this.#run = run;
    const { journal, limits } = deps;
    const onRefused = (outcome: Extract<Appended, { ok: false }>): void => this.#onRefused(outcome);
    this.#log = new RunLog(journal, session, run.run_id, limits.run_held_bytes, {
      refused: onRefused,
      committed: () => {
        if (this.#ending === null) this.#writer?.committed();
      },
    });
    this.#end = new RunEnd(deps, {
      session,
      log: this.#log,
      state: () => ({
        run: this.#run,
        ending: this.#ending ?? { status: "failed", error: silent().toBody() },
        usage: this.#usage,
        writer: this.#writer,
        covers: this.#asking?.covers,
      }),
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
      this.#asking = await asks(this.kind, this.#deps, this.session, this.run_id);
      if (this.#asking === null) this.#fail(nothingToCompact());
      else await this.#turn(this.#asking);
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

  async #turn({ messages }: Asking): Promise<void> {
    if (this.#abort.signal.aborted) return;
    const request = {
      model: this.#run.model,
      messages,
      session_id: this.session.id,
      run_id: this.run_id,
    };
    const stream = this.#deps.router.stream(request, { signal: this.#abort.signal });
    const iterator = stream[Symbol.asyncIterator]();
    while (this.#ending === null) {
      const next = await this.#next(iterator);
      if (next === null || next.done === true) break;
      this.#take(next.value);
      if (this.#log.isFull && this.#ending === null) await this.#log.room();
    }
    void iterator.return?.()?.catch(() => undefined);
  }

  /** The next event, or null once the run is to end: a provider that is slow to notice must not hold that up. */
  #next(iterator: AsyncIterator<ModelEvent>): Promise<IteratorResult<ModelEvent> | null> {
    return new Promise((resolve, reject) => {
      this.#wake = () => resolve(null);
      if (this.#abort.signal.aborted) return resolve(null);
      return void iterator.next().then(resolve, reject);
    });
  }

  #stopAsking(): void {
    this.#abort.abort();
    this.#wake();
    this.#log.wake();
  }

  #take(event: ModelEvent): void {
    if (this.#ending !== null) return;
    switch (event.type) {
      case "text":
      case "reasoning":
        this.#write(event.type, event.text);
        return;
      case "usage":
        this.#usage = event.usage;
        return;
      case "retrying":
        this.#note("run.retrying", { run_id: this.run_id, attempt: event.attempt, reason: event.reason });
        return;
      case "done":
        this.#complete(event.finish_reason);
        return;
      case "error":
        this.#fail(event.error);
        return;
      case "aborted":
        this.#ending ??= { status: "aborted" };
        return;
    }
  }

  #complete(finish_reason: string): void {
    const error = this.kind === "summary" ? unfinished(this.#writer?.message, finish_reason) : null;
    if (error !== null) return this.#fail(error);
    this.#writer ??= this.#newWriter();
    this.#ending = { status: "completed", finish_reason };
    return undefined;
  }

  #write(kind: "text" | "reasoning", text: string): void {
    if (text === "") return;
    this.#bytes += lengthUtf8(text);
    const { assistant_bytes } = this.#deps.limits;
    if (this.#bytes > assistant_bytes) {
      this.#fail(
        new GatewayError(
          "TOO_LARGE",
          `the answer is longer than ${assistant_bytes} bytes; what came so far is kept`,
          { limit: { what: "assistant_bytes", limit: assistant_bytes } },
        ),
      );
      return;
    }
    this.#writer ??= this.#newWriter();
    this.#writer.push(kind, text);
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

  #note(type: string, payload: Record<string, unknown>): void {
    this.#writer?.flush();
    this.#log.append(
      [{ type, ts: this.#deps.clock.now(), run_id: this.run_id, payload: JSON.stringify(payload) }],
      [],
    );
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

function silent(): GatewayError {
  return new GatewayError("UPSTREAM_ERROR", "the model's stream ended without an answer");
}
