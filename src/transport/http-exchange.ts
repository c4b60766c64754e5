import type { Server } from "bun";
import type { RequestMark } from "../core/call.ts";
import { newId } from "../core/id.ts";
import type { RunTimes } from "../core/run-times.ts";
import { readTraceparent } from "../core/trace.ts";
import type { Run } from "../protocol/entities.ts";
import type { TransportContext } from "./context.ts";

/** What a request may be called: no space, no quote, nothing that is another line of a log. */
const REQUEST_ID = /^[A-Za-z0-9._:/+=@-]{1,128}$/;

/** Milliseconds of a request that others took. */
interface Waited {
  /** Behind other runs. */
  queue: number;
  model: number;
  tools: number;
  /** For a run that somebody else began. */
  run: number;
}

/** One request over HTTP on its way, from its first byte to its answer's. */
export class Exchange<D> {
  readonly server: Server<D>;
  readonly mark: RequestMark;
  readonly waited: Waited = { queue: 0, model: 0, tools: 0, run: 0 };
  readonly #context: TransportContext;
  readonly #began: number;

  constructor(context: TransportContext, request: Request, server: Server<D>) {
    const { clock } = context;
    const named = request.headers.get("x-request-id") ?? "";
    this.server = server;
    this.#context = context;
    this.#began = clock.monotonic();
    this.mark = {
      request_id: REQUEST_ID.test(named) ? named : newId("req", clock.now()),
      trace: readTraceparent(request.headers.get("traceparent")),
    };
  }

  /** The answer waited for all of a run. */
  waitedFor(run: Run, times: RunTimes): void {
    const { model_ms = 0, tools_ms = 0 } = times.of(run.run_id) ?? {};
    this.waited.queue = Math.max(0, (run.started_at ?? run.created_at) - run.created_at);
    this.waited.model = model_ms;
    this.waited.tools = tools_ms;
  }

  /** Puts on what tells how long the request took here, and by which name the log knows it. */
  finish(request: Request, response: Response): void {
    const { clock, log } = this.#context;
    const total = clock.monotonic() - this.#began;
    const { queue, model, tools, run } = this.waited;
    const overhead = Math.max(0, total - queue - model - tools - run);
    const spent = { gateway: overhead, queue, model, tools, run };
    const timing = Object.entries(spent)
      .filter(([what, ms]) => ms > 0 || what === "gateway")
      .map(([what, ms]) => `${what};dur=${ms.toFixed(1)}`);
    response.headers.set("server-timing", timing.join(", "));
    response.headers.set("x-agentbus-overhead-ms", overhead.toFixed(1));
    response.headers.set("x-request-id", this.mark.request_id);
    log.debug(
      {
        request_id: this.mark.request_id,
        trace_id: this.mark.trace?.trace_id,
        method: request.method,
        path: pathOf(request.url),
        status: response.status,
        total_ms: round(total),
        overhead_ms: round(overhead),
      },
      "a request was answered",
    );
  }
}

/** Without the query. It is made for every request, whether the log wants it or not. */
function pathOf(url: string): string {
  const from = url.indexOf("/", "https://".length);
  const to = url.indexOf("?", from);
  return to < 0 ? url.slice(from) : url.slice(from, to);
}

function round(ms: number): number {
  return Math.round(ms * 10) / 10;
}
