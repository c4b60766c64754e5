import type { EventRun } from "../protocol/entities.ts";
import type { Asking } from "./asking.ts";
import { completed } from "./ending.ts";
import { newId } from "./id.ts";
import type { Histogram } from "./histogram.ts";
import type { Ledger } from "./ledger.ts";
import type { Limits } from "./limits.ts";
import type { RowChange } from "./operation.ts";
import type { Clock, ModelRouter, ToolCall } from "./ports.ts";
import type { RunLog } from "./run-log.ts";
import type { RunTimes } from "./run-times.ts";
import type { SessionRef } from "./session.ts";
import { lengthUtf8 } from "./text.ts";
import type { Tracing } from "./tracing.ts";
import { Turn } from "./turn.ts";
import { MessageWriter } from "./writer.ts";

export interface TurnsOptions {
  readonly clock: Clock;
  readonly limits: Limits;
  readonly router: ModelRouter;
  /** Lowercase hex of the SHA-256 of the text's UTF-8. */
  readonly sha256: (text: string) => string;
  readonly ledger: Ledger;
  readonly first_token: Histogram;
  readonly times: RunTimes;
  readonly tracing: Pick<Tracing, "outgoing">;
  readonly session: SessionRef;
  readonly log: RunLog;
  readonly signal: AbortSignal;
  readonly run: () => EventRun;
  /** Which message is the run's last one now, and the model that writes it: one that is begun, or the one before a discarded one. */
  readonly onMessage: (message_id: string | undefined, model: string) => void;
}

/** Makes the turns of one run, and completes or drops what they wrote. */
export class Turns {
  readonly #options: TurnsOptions;
  /** The message before the one that was begun last. */
  #before: string | undefined;

  constructor(options: TurnsOptions) {
    this.#options = options;
  }

  make({ messages, tools }: Asking, role: "assistant" | "system"): Turn {
    const { clock, limits, router, log, signal, run, session, first_token, times, tracing } = this.#options;
    const { model, run_id } = run();
    const traceparent = tracing.outgoing(run_id, { kind: "model" }) ?? undefined;
    const trace = traceparent !== undefined && { traceparent };
    const request = { model, messages, tools, session_id: session.id, run_id, ...trace };
    const began = clock.monotonic();
    const over = (): void => times.add(run_id, "model_ms", clock.monotonic() - began);
    let asked: number | null = began;
    const message = (answering = model): MessageWriter => {
      if (asked !== null) first_token.observe((clock.monotonic() - asked) / 1_000);
      asked = null;
      return this.#writer(role, answering);
    };
    const discard = (writer: MessageWriter, reason: string): void => this.#drop(writer, reason);
    const { priced } = this.#options.ledger;
    return new Turn({ clock, limits, router, log, request, signal, message, discard, priced, over });
  }

  /** Completes the turn's message, with its calls, before anything is done that it asks for. False: it is not in the log. */
  complete(
    turn: Turn,
    calls: readonly ToolCall[],
    covers: Asking["covers"],
    owed: readonly RowChange[],
  ): Promise<boolean> {
    const { clock, limits, sha256, log, run } = this.#options;
    const { events, rows, message } = turn.begin().finishWith(calls);
    const done = completed(
      { ...message, status: "complete" },
      {
        at: clock.now(),
        run: run(),
        usage: turn.usage,
        covers,
        sha256,
        inline_bytes: limits.completed_inline_bytes,
        lengthUtf8,
      },
    );
    return log.durable([...events, done.event], [...rows, done.row, ...owed]);
  }

  /** Takes back what the turn wrote. */
  drop(turn: Turn, reason: string): void {
    if (turn.writer !== null) this.#drop(turn.writer, reason);
  }

  #drop(writer: MessageWriter, reason: string): void {
    const { clock, log, run, onMessage } = this.#options;
    const { run_id, model } = run();
    onMessage(this.#before, model);
    const length = writer.abandon();
    if (length === null) return;
    const { message_id } = writer.message;
    const payload = JSON.stringify({ message_id, reason, length });
    log.append(
      [{ type: "message.discarded", ts: clock.now(), run_id, payload }],
      [{ kind: "message.drop", message_id }],
    );
  }

  #writer(role: "assistant" | "system", model: string): MessageWriter {
    const { clock, limits, log, run, onMessage } = this.#options;
    const message_id = newId("msg", clock.now());
    this.#before = run().message_id;
    onMessage(message_id, model);
    const { run_id } = run();
    return new MessageWriter({
      clock,
      limits,
      run_id,
      message_id,
      role,
      model,
      busy: () => log.isBusy,
      append: (events, rows) => log.append(events, rows),
    });
  }
}
