import type { Approval } from "../protocol/entities.ts";
import type { Approvals, Decision } from "./approvals.ts";
import type { Hooks } from "./hooks.ts";
import { newId } from "./id.ts";
import type { Clock, Ruling, ToolCall, Toolbox, ToolOutcome } from "./ports.ts";
import type { RunLog } from "./run-log.ts";
import type { RunTimes } from "./run-times.ts";
import type { SessionRef } from "./session.ts";
import type { Written } from "./tool-events.ts";
import { addApproval, addDecision, addToolResult } from "./tool-events.ts";
import type { Tracing } from "./tracing.ts";

export interface ToolDeps {
  readonly clock: Clock;
  readonly toolbox: Toolbox;
  readonly hooks: Hooks;
  readonly approvals: Approvals;
  readonly approval_timeout_ms: number;
  /** Whether a call that asks may wait for somebody to come. */
  readonly mayWait: (session: SessionRef) => Promise<boolean>;
  /** Whether a tool may be started at this moment. */
  readonly mayStart: () => boolean;
  /** Names of tools that were allowed for a session. */
  readonly granted: (session: SessionRef) => Promise<ReadonlySet<string>>;
  readonly times: RunTimes;
  readonly tracing: Pick<Tracing, "outgoing">;
  /** A call is answered without being made. */
  readonly onRefused: () => void;
}

export interface RoundOptions {
  readonly session: SessionRef;
  readonly run_id: string;
  /** The assistant's message that makes the calls. */
  readonly message_id: string;
  readonly calls: readonly ToolCall[];
  readonly log: RunLog;
  readonly signal: AbortSignal;
  /** Why a call is not made whatever it is, for the model; null: it may be. */
  readonly refused: (call: ToolCall) => string | null;
}

interface Asked {
  readonly approval: Approval;
  isClaimed: boolean;
  /** Ends the wait for its deadline. */
  cancel: () => void;
  readonly settled: PromiseWithResolvers<{ readonly decision: Decision; readonly by?: string }>;
}

/** The calls of one turn, side by side; their results enter the log in the order of the calls. */
export class ToolRound {
  readonly #deps: ToolDeps;
  readonly #options: RoundOptions;
  readonly #outcomes: (ToolOutcome | null)[];
  readonly #asked = new Map<string, Asked>();
  /** Answers on their way into the log. */
  readonly #claims = new Set<Promise<void>>();
  #answered = 0;
  #isOver = false;

  constructor(deps: ToolDeps, options: RoundOptions) {
    this.#deps = deps;
    this.#options = options;
    this.#outcomes = options.calls.map(() => null);
  }

  /** Ids of calls whose result is not in the log. */
  get unanswered(): string[] {
    return this.#options.calls.slice(this.#answered).map(({ tool_call_id }) => tool_call_id);
  }
  /** Approvals nobody answered. */
  get open(): Approval[] {
    return [...this.#asked.values()].map(({ approval }) => approval);
  }

  /** Resolves when every call has its result in the log, or the run is to end and no answer is on its way any more. */
  async run(): Promise<void> {
    const { calls, signal, run_id } = this.#options;
    const { clock, times } = this.#deps;
    const began = clock.monotonic();
    const stopped = Promise.withResolvers<void>();
    const stop = (): void => stopped.resolve();
    if (signal.aborted) stop();
    signal.addEventListener("abort", stop, { once: true });
    try {
      await Promise.race([stopped.promise, Promise.all(calls.map((call, at) => this.#one(call, at)))]);
    } finally {
      // Whatever went wrong, nothing waits for an answer any more: the end of the run says so.
      signal.removeEventListener("abort", stop);
      this.#isOver = true;
      times.add(run_id, "tools_ms", clock.monotonic() - began);
      for (const { approval, cancel } of this.#asked.values()) {
        cancel();
        this.#deps.approvals.remove(approval.approval_id);
      }
    }
    while (this.#claims.size > 0) await Promise.all(this.#claims);
  }

  async #one(call: ToolCall, at: number): Promise<void> {
    const outcome = await this.#outcomeOf(call);
    if (this.#isOver) return;
    this.#outcomes[at] = outcome;
    await this.#write();
  }

  /** Appends the results that come next in order. */
  #write(): Promise<unknown> {
    const { calls, log, run_id } = this.#options;
    const now = this.#deps.clock.now();
    const written: Written = { events: [], rows: [] };
    for (;;) {
      const [call, outcome] = [calls[this.#answered], this.#outcomes[this.#answered]];
      if (call === undefined || outcome === null || outcome === undefined) break;
      const { tool_call_id } = call;
      addToolResult(
        written,
        { ts: now, run_id },
        { message_id: newId("msg", now), tool_call_id, ...outcome },
      );
      this.#answered++;
    }
    if (written.events.length === 0) return Promise.resolve();
    return log.durable(written.events, written.rows);
  }

  async #outcomeOf(call: ToolCall): Promise<ToolOutcome> {
    const { toolbox, hooks, granted } = this.#deps;
    const { session, refused } = this.#options;
    const why = refused(call);
    if (why !== null) return this.#no(why);
    const allowed = await granted(session);
    const ruling = toolbox.rule(call, allowed);
    if (ruling.kind === "refuse") return this.#no(ruling.content);
    if (!hooks.has.before_tool_call) return this.#make(call, ruling);
    const answer = await hooks.beforeToolCall(this.#shown(call, ruling.args), this.#options.signal);
    if (answer === null) return this.#make(call, ruling);
    if ("refuse" in answer) return this.#no(answer.refuse);
    const changed = { ...call, arguments: JSON.stringify(answer.arguments) };
    const again = toolbox.rule(changed, allowed);
    if (again.kind === "refuse")
      return this.#no(`${answer.by} changed what it is called with: ${again.content}`);
    return this.#make(changed, again);
  }

  /** Makes a call that may be made, once whoever has to be asked has allowed it. */
  async #make(call: ToolCall, ruling: Exclude<Ruling, { kind: "refuse" }>): Promise<ToolOutcome> {
    const { toolbox, hooks, mayStart, mayWait, tracing } = this.#deps;
    const { session, run_id, signal } = this.#options;
    // Meanwhile, too: after its end a run appends nothing, and so asks nobody.
    if (this.#isOver || signal.aborted) return this.#no("the run ended before it was called");
    if (ruling.kind === "ask") {
      if (!(await mayWait(session))) return this.#no("not allowed: nobody is there who could allow it");
      if (this.#isOver || signal.aborted) return this.#no("the run ended before it was called");
      const { decision, by } = await this.#ask(call);
      if (decision === "expired") return this.#no("not allowed: nobody answered in time");
      if (decision === "deny") return this.#no(`not allowed: ${by ?? "somebody"} said no`);
    }
    if (signal.aborted) return this.#no("the run ended before it was called");
    if (!mayStart()) return this.#no("not called: this node is out of touch with the others");
    const { tool_call_id } = call;
    const traceparent = tracing.outgoing(run_id, { kind: "tool", tool_call_id }) ?? undefined;
    const context = {
      signal,
      session_id: session.id,
      run_id,
      ...(traceparent !== undefined && { traceparent }),
    };
    const outcome = await toolbox.call(call, ruling.args, context);
    if (!hooks.has.after_tool_call) return outcome;
    const told = await hooks.afterToolCall({ ...this.#shown(call, ruling.args), ...outcome }, signal);
    return told.content === outcome.content ? outcome : { ok: outcome.ok, ...told };
  }

  #no(content: string): ToolOutcome {
    this.#deps.onRefused();
    return { ok: false, content };
  }

  #shown({ tool_call_id, name }: ToolCall, args: Readonly<Record<string, unknown>>) {
    const { session, run_id } = this.#options;
    return { session_id: session.id, run_id, tool_call_id, name, arguments: args };
  }

  /** Asks whoever may answer, and waits for it. */
  async #ask(call: ToolCall): Promise<{ readonly decision: Decision; readonly by?: string }> {
    const { clock, approvals, approval_timeout_ms } = this.#deps;
    const { session, run_id, message_id, log } = this.#options;
    const now = clock.now();
    const approval: Approval = {
      approval_id: newId("apr", now),
      run_id,
      message_id,
      tool_call_id: call.tool_call_id,
      name: call.name,
      arguments: call.arguments,
      created_at: now,
      expires_at: now + approval_timeout_ms,
    };
    const written: Written = { events: [], rows: [] };
    addApproval(written, { ts: now, run_id }, session.id, approval);
    const asked: Asked = {
      approval,
      isClaimed: false,
      cancel: () => undefined,
      settled: Promise.withResolvers(),
    };
    this.#asked.set(approval.approval_id, asked);
    // Known before its event is published: whoever reads the one may answer at once.
    approvals.add(this.#waiting(asked));
    const inLog = log.durable(written.events, written.rows);
    asked.cancel = clock.after(approval_timeout_ms, () => this.#expire(asked));
    if (await inLog) return asked.settled.promise;
    this.#forget(asked);
    return { decision: "expired" };
  }

  #waiting(asked: Asked) {
    const { approval, settled } = asked;
    let claim: PromiseWithResolvers<void> | null = null;
    const release = (): void => {
      if (claim !== null) this.#claims.delete(claim.promise);
      claim?.resolve();
      claim = null;
    };
    return {
      approval,
      session: this.#options.session.id,
      claim: (): boolean => {
        if (asked.isClaimed || this.#isOver || !this.#asked.has(approval.approval_id)) return false;
        asked.isClaimed = true;
        claim = Promise.withResolvers<void>();
        this.#claims.add(claim.promise);
        return true;
      },
      unclaim: (): void => {
        asked.isClaimed = false;
        release();
        // Its time was over while somebody tried to answer.
        if (this.#deps.clock.now() >= approval.expires_at) this.#expire(asked);
      },
      decide: (decision: Decision, by: string): void => {
        this.#forget(asked);
        settled.resolve({ decision, by });
        release();
      },
    };
  }

  #expire(asked: Asked): void {
    const { log, run_id, session } = this.#options;
    const { approval } = asked;
    if (asked.isClaimed || this.#isOver || !this.#asked.has(approval.approval_id)) return;
    const written: Written = { events: [], rows: [] };
    const decided = { ...approval, decision: "expired" as const };
    addDecision(written, { ts: this.#deps.clock.now(), run_id }, session.id, decided);
    this.#forget(asked);
    void log.durable(written.events, written.rows).then(() => asked.settled.resolve({ decision: "expired" }));
  }

  #forget({ approval, cancel }: Asked): void {
    cancel();
    this.#asked.delete(approval.approval_id);
    this.#deps.approvals.remove(approval.approval_id);
  }
}
