import type { Usage } from "../protocol/entities.ts";
import { GatewayError } from "../protocol/errors.ts";
import type { Limits } from "./limits.ts";
import type { ModelCall } from "./meter.ts";
import { Meter } from "./meter.ts";
import type { Clock, ModelEvent, ModelRequest, ModelRouter, ToolCall } from "./ports.ts";
import type { RunLog } from "./run-log.ts";
import { lengthUtf8 } from "./text.ts";
import type { MessageWriter } from "./writer.ts";

export interface TurnOptions {
  readonly clock: Clock;
  readonly limits: Limits;
  readonly router: ModelRouter;
  readonly log: RunLog;
  readonly request: ModelRequest;
  /** The run is to end: the turn does, too. */
  readonly signal: AbortSignal;
  /** Makes the message, once there is something to write; `model` writes it, where that is known. */
  readonly message: (model: string | undefined) => MessageWriter;
  /** Takes back what a message has in the log. */
  readonly discard: (writer: MessageWriter, reason: string) => void;
  /** A usage with its cost. */
  readonly priced: (model: string, usage: Usage) => Usage;
  /** The model has said all it says, or nobody listens any more. */
  readonly over: () => void;
}

/** How a call of the model ended. */
export type TurnEnd =
  | { readonly kind: "done"; readonly finish_reason: string }
  | { readonly kind: "failed"; readonly error: GatewayError }
  | { readonly kind: "aborted" };

/** One call of the model: writes what it says, and gathers what it wants to call. */
export class Turn {
  readonly calls: ToolCall[] = [];
  readonly #options: TurnOptions;
  #writer: MessageWriter | null = null;
  readonly #meter: Meter;
  #model: string | undefined;
  #bytes = 0;
  /** Why the model is asked again, where it broke off in its answer; that stands until there is another. */
  #broken: string | null = null;

  constructor(options: TurnOptions) {
    this.#options = options;
    this.#meter = new Meter(options.request.model, options.priced);
  }

  /** Null: it has said nothing yet. One that broke off stays until the model says something again. */
  get writer(): MessageWriter | null {
    return this.#writer;
  }
  /** Of the call that wrote the message. */
  get usage(): Usage | undefined {
    return this.#meter.usage;
  }
  /** Every call that was made, those that failed among them, once it is over. */
  get used(): readonly ModelCall[] {
    return this.#meter.calls;
  }
  /** Who answers, as "provider/model"; absent before anybody did. */
  get model(): string | undefined {
    return this.#model;
  }

  /** The message, begun if it was not: a model that says nothing has answered all the same. */
  begin(): MessageWriter {
    return (this.#writer ??= this.#options.message(this.#model));
  }

  /** Reads what the model says to its end. Called once; never rejects for what a provider does. */
  async run(): Promise<TurnEnd> {
    const { router, request, signal, log } = this.#options;
    if (signal.aborted) return { kind: "aborted" };
    const iterator = router.stream(request, { signal })[Symbol.asyncIterator]();
    try {
      for (;;) {
        const next = await this.#next(iterator);
        if (next === null) return { kind: "aborted" };
        if (next.done === true) return { kind: "failed", error: silent() };
        const end = this.#take(next.value);
        if (end?.kind === "failed") this.#meter.failed();
        if (end !== null) return end;
        if (log.isFull && !signal.aborted) await log.room();
      }
    } finally {
      this.#meter.ended();
      this.#options.over();
      void iterator.return?.()?.catch(() => undefined);
    }
  }

  /** The next event, or null once the run is to end: a provider that is slow to notice must not hold that up. */
  #next(iterator: AsyncIterator<ModelEvent>): Promise<IteratorResult<ModelEvent> | null> {
    const { signal } = this.#options;
    return new Promise((resolve, reject) => {
      if (signal.aborted) return resolve(null);
      const stop = (): void => resolve(null);
      signal.addEventListener("abort", stop, { once: true });
      iterator
        .next()
        .then(resolve, reject)
        .finally(() => signal.removeEventListener("abort", stop));
      return undefined;
    });
  }

  #take(event: ModelEvent): TurnEnd | null {
    switch (event.type) {
      case "model":
        this.#model = event.model;
        this.#meter.calling(event.model);
        return null;
      case "text":
      case "reasoning":
        return this.#write(event.type, event.text);
      case "tool_call":
        this.#restart();
        this.#meter.said();
        this.calls.push(event.call);
        return this.#count(event.call.arguments + (event.call.extra ?? ""));
      case "usage":
        this.#meter.told(event.usage);
        return null;
      case "retrying":
        this.#meter.failed();
        this.#retrying(event.attempt, event.reason);
        return null;
      case "done":
        this.#restart();
        return { kind: "done", finish_reason: event.finish_reason };
      case "error":
        return { kind: "failed", error: event.error };
      case "aborted":
        return { kind: "aborted" };
    }
  }

  #write(kind: "text" | "reasoning", text: string): TurnEnd | null {
    if (text === "") return null;
    this.#restart();
    this.#meter.said();
    const over = this.#count(text);
    if (over !== null) return over;
    this.begin().push(kind, text);
    return null;
  }

  #count(text: string): TurnEnd | null {
    this.#bytes += lengthUtf8(text);
    const { assistant_bytes } = this.#options.limits;
    if (this.#bytes <= assistant_bytes) return null;
    const error = new GatewayError(
      "TOO_LARGE",
      `the answer is longer than ${assistant_bytes} bytes; what came so far is kept`,
      { limit: { what: "assistant_bytes", limit: assistant_bytes } },
    );
    return { kind: "failed", error };
  }

  #retrying(attempt: number, reason: string): void {
    const { log, clock, request } = this.#options;
    const { run_id } = request;
    this.#writer?.flush();
    if (this.#writer !== null || this.calls.length > 0) this.#broken = reason;
    const payload = JSON.stringify({ run_id, attempt, reason });
    log.append([{ type: "run.retrying", ts: clock.now(), run_id, payload }], []);
  }

  /** The model answers again after it broke off: nothing of what it said then is left, and nothing of it was done. */
  #restart(): void {
    if (this.#broken === null) return;
    if (this.#writer !== null) this.#options.discard(this.#writer, this.#broken);
    this.#writer = null;
    this.calls.length = 0;
    this.#bytes = 0;
    this.#broken = null;
  }
}

export function silent(): GatewayError {
  return new GatewayError("UPSTREAM_ERROR", "the model's stream ended without an answer");
}
