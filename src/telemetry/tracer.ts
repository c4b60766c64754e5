import type { Caller, RequestMark } from "../core/call.ts";
import type { Happening, Observers } from "../core/observers.ts";
import type { Clock } from "../core/ports.ts";
import { cutUtf8 } from "../core/text.ts";
import type { TraceContext } from "../core/trace.ts";
import { newSpanId, newTraceId, traceparentOf } from "../core/trace.ts";
import type { Outgoing, Posting, TracedPosting, TracedRequest, Tracing } from "../core/tracing.ts";
import { EndedRuns } from "../core/tracing.ts";
import type { EventMessage, EventRun, Usage } from "../protocol/entities.ts";
import type { GatewayError } from "../protocol/errors.ts";
import type { GenAiMeasures } from "./gen-ai-measures.ts";
import { RunTrace } from "./run-trace.ts";
import type { Attributes, Sink } from "./span.ts";

export interface TracerOptions {
  readonly clock: Clock;
  readonly sink: Sink;
  readonly measures: GenAiMeasures;
  /** Of the traces that begin here, between 0 and 1. */
  readonly ratio: number;
  /** Whether what people and models say may be in spans; asked each time. */
  readonly content: () => boolean;
}

/** Runs that are followed at once; of more nothing is sent. */
const RUNS_MAX = 10_000;
const CONTENT_BYTES = 8 * 1024;

type Payload = Readonly<Record<string, unknown>>;

/** Makes spans of requests, and of runs from the events they write; deltas are none of its business. */
export class Tracer implements Tracing {
  readonly #options: TracerOptions;
  readonly #runs = new Map<string, RunTrace>();
  readonly #ended = new EndedRuns<TraceContext>();

  constructor(options: TracerOptions) {
    this.#options = options;
  }

  request(method: string, { transport }: Caller, { request_id, trace }: RequestMark): TracedRequest {
    const { clock, sink } = this.#options;
    const context = this.#below(trace);
    const start_ms = clock.now();
    return {
      context,
      end: (error: GatewayError | null) => {
        if (!context.sampled) return;
        sink({
          context,
          parent: trace?.span_id ?? null,
          name: method,
          kind: "server",
          start_ms,
          end_ms: clock.now(),
          attributes: {
            "rpc.system": "agentbus",
            "rpc.method": method,
            "agentbus.transport": transport,
            "agentbus.request_id": request_id,
          },
          error: error?.reason,
        });
      },
    };
  }

  run(run_id: string, session_id: string, parent: TraceContext | null): void {
    if (this.#runs.size >= RUNS_MAX) return;
    const context = this.#below(parent);
    const sink: Sink = (span) => void (span.context.sampled && this.#options.sink(span));
    this.#runs.set(run_id, new RunTrace(parent, context, session_id, this.#options.clock.now(), sink));
  }

  outgoing(run_id: string, call: Outgoing): string | null {
    const run = this.#runs.get(run_id);
    if (run === undefined) return null;
    const now = this.#options.clock.now();
    return traceparentOf(call.kind === "model" ? run.chat(now) : run.tool(call.tool_call_id, now));
  }

  delivery({ webhook_id, type, run_id }: Posting): TracedPosting {
    const { clock, sink } = this.#options;
    const run = run_id === null ? undefined : (this.#runs.get(run_id)?.context ?? this.#ended.get(run_id));
    const context = this.#below(run ?? null);
    const start_ms = clock.now();
    return {
      traceparent: traceparentOf(context),
      end(status) {
        if (!context.sampled) return;
        sink({
          context,
          parent: run?.span_id ?? null,
          name: "webhook.deliver",
          kind: "client",
          start_ms,
          end_ms: clock.now(),
          attributes: {
            "http.request.method": "POST",
            "http.response.status_code": status ?? undefined,
            "agentbus.webhook_id": webhook_id,
            "agentbus.event": type,
          },
          error: status === null ? "no_answer" : status >= 300 ? String(status) : undefined,
        });
      },
    };
  }

  ended(): void {
    // Its end is an event, too, and that says more.
  }

  /** Follows the events that say what runs do. The answer takes it back. */
  watch(observers: Pick<Observers, "on">): () => void {
    const on = (type: string, what: (run: RunTrace, payload: Payload, happening: Happening) => void) =>
      observers.on(type, (happening) => {
        const run = this.#runs.get(happening.run_id ?? "");
        if (run !== undefined) what(run, happening.payload, happening);
      });
    const offs = [
      on("message.created", (run, { message }) => this.#heard(run, message as EventMessage)),
      on("run.started", (run, { model }) => void (run.model = String(model))),
      on("message.started", (run, _payload, { ts }) => run.answers(ts)),
      on("tool.call", (run, { tool_call_id, name, arguments: args }, { ts }) =>
        run.toolNamed(String(tool_call_id), String(name), this.#shown(args), ts),
      ),
      on("message.completed", (run, { message }, { ts }) => this.#answered(run, message as EventMessage, ts)),
      on("run.retrying", (run, { reason }, { ts }) => {
        const { model } = run;
        run.chatEnded(
          ts,
          { model: nameOf(model), attributes: modelAttributes(model), error: String(reason) },
          true,
        );
      }),
      on("tool.result", (run, { tool_call_id, ok, content }, { ts }) =>
        run.toolEnded(String(tool_call_id), ok === true, this.#shown(content), ts),
      ),
      ...["completed", "failed", "aborted", "interrupted"].map((status) =>
        on(`run.${status}`, (run, payload, { ts }) => this.#over(run, payload["run"] as EventRun, ts)),
      ),
    ];
    return () => offs.forEach((off) => off());
  }

  /** Runs whose end nobody heard of: their session went with them. */
  forgetThose(gone: (run_id: string) => boolean): void {
    for (const run_id of this.#runs.keys()) if (gone(run_id)) this.#runs.delete(run_id);
  }

  #heard(run: RunTrace, { role, content }: EventMessage): void {
    const text = this.#shown(content);
    if (role === "user" && text !== undefined) run.said["gen_ai.input.messages"] = said("user", text);
  }

  #answered(run: RunTrace, message: EventMessage, ts: number): void {
    const { model = "", usage, content, status } = message;
    const text = this.#shown(content);
    const attributes = {
      ...modelAttributes(model, usage),
      "gen_ai.conversation.id": run.session_id,
      "gen_ai.output.messages": text === undefined ? undefined : said("assistant", text),
    };
    const error = status === "partial" ? "partial" : undefined;
    const took_ms = run.chatEnded(ts, { model: nameOf(model), attributes, error }, false);
    if (took_ms !== null) this.#options.measures.chat(model, took_ms / 1_000, usage, error);
  }

  #over(run: RunTrace, { run_id, model, status, usage, error }: EventRun, ts: number): void {
    this.#runs.delete(run_id);
    this.#ended.add(run_id, run.context);
    const code = status === "completed" ? undefined : (error?.code ?? status);
    const attributes = {
      ...usageAttributes(usage),
      "gen_ai.request.model": nameOf(model),
      "agentbus.run_id": run_id,
      "agentbus.outcome": status,
    };
    run.end(ts, attributes, { model: nameOf(model), attributes: modelAttributes(model), error: code }, code);
  }

  /** A span below it, or one that begins a trace. */
  #below(parent: TraceContext | null): TraceContext {
    const span_id = newSpanId();
    if (parent !== null) return { trace_id: parent.trace_id, span_id, sampled: parent.sampled };
    return { trace_id: newTraceId(), span_id, sampled: Math.random() < this.#options.ratio };
  }

  #shown(text: unknown): string | undefined {
    return this.#options.content() && typeof text === "string" ? cutUtf8(text, CONTENT_BYTES) : undefined;
  }
}

function said(role: string, content: string): string {
  return JSON.stringify([{ role, parts: [{ type: "text", content }] }]);
}

/** The model's own name, of "provider/model". */
function nameOf(model: string): string {
  return model.slice(model.indexOf("/") + 1);
}

function modelAttributes(model: string, usage?: Usage): Attributes {
  return {
    "gen_ai.provider.name": model.includes("/") ? model.slice(0, model.indexOf("/")) : undefined,
    "gen_ai.request.model": nameOf(model),
    ...usageAttributes(usage),
  };
}

function usageAttributes(usage: Usage | undefined): Attributes {
  return {
    "gen_ai.usage.input_tokens": usage?.input_tokens,
    "gen_ai.usage.output_tokens": usage?.output_tokens,
    "gen_ai.usage.cache_read.input_tokens": usage?.cached_tokens,
    "agentbus.cost": usage?.cost === undefined ? undefined : usage.cost / 1e9,
  };
}
