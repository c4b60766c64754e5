import type { Clock } from "../core/ports.ts";
import type { SampledLog } from "../core/sampled-log.ts";
import type { Family, Source } from "./family.ts";
import { by } from "./family.ts";
import { metricsJson, spansJson } from "./otlp-json.ts";
import type { Attributes, Span } from "./span.ts";

export interface ExporterOptions {
  /** Where `/v1/traces` and `/v1/metrics` are. */
  readonly endpoint: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Who is told of. */
  readonly resource: Attributes;
  readonly clock: Clock;
  readonly log: Pick<SampledLog, "warn">;
}

/** Spans that wait; more are lost. */
const QUEUE_MAX = 2_048;
const BATCH_MAX = 512;
const EVERY_MS = 5_000;
const TIMEOUT_MS = 10_000;
/** How long one that does not take anything is left alone, the second time twice as long, and so on. */
const REST_MS = 5_000;
const REST_MAX_MS = 60_000;

/**
 * Sends spans and metrics to a collector, one request at a time. A collector that is slow or not there costs what is
 * bounded here and nothing else: what it does not take is lost, and counted.
 */
export class OtlpExporter {
  readonly #options: ExporterOptions;
  readonly #since_ms: number;
  readonly #counts = { sent: 0, lost: 0 };
  #queue: Span[] = [];
  /** Metrics whose time has come; null: they were sent. */
  #due: Source | null = null;
  #sending: Promise<void> | null = null;
  #failures = 0;
  /** Nothing is tried before (monotonic). */
  #rests_until = 0;
  #cancel: (() => void)[] = [];

  constructor(options: ExporterOptions) {
    this.#options = options;
    this.#since_ms = options.clock.now();
  }

  /** `metrics` is asked every so many ms; 0: never. */
  start(metrics: Source, metrics_ms: number): void {
    const { clock } = this.#options;
    const tell = (): void => {
      this.#due = metrics;
      this.#sendNext();
    };
    this.#cancel.push(clock.every(EVERY_MS, () => this.#sendNext()));
    if (metrics_ms > 0) this.#cancel.push(clock.every(metrics_ms, tell));
  }

  push(span: Span): void {
    if (this.#queue.length >= QUEUE_MAX) {
      this.#counts.lost++;
      return;
    }
    this.#queue.push(span);
    if (this.#queue.length === BATCH_MAX) this.#sendNext();
  }

  families(): Family[] {
    return [
      by(
        "counter",
        "agentbus_telemetry_spans",
        "Spans for the collector; lost: it did not take them, or not fast enough.",
        "outcome",
        Object.entries(this.#counts),
      ),
    ];
  }

  /** Sends what there is, and then nothing more. Each request has its time; how long to wait for all is for who asks. */
  async close(): Promise<void> {
    for (const cancel of this.#cancel.splice(0)) cancel();
    const waits = (): boolean => this.#due !== null || this.#queue.length > 0;
    while (this.#sending !== null || (this.#failures === 0 && waits())) {
      this.#sendNext();
      await this.#sending;
    }
  }

  /** Metrics come before spans, of which there may always be more. */
  #sendNext(): void {
    if (this.#sending !== null || this.#isResting()) return;
    if (this.#due !== null) this.#sendMetrics(this.#due);
    else if (this.#queue.length > 0) this.#sendSpans();
  }

  #sendSpans(): void {
    const batch = this.#queue.splice(0, BATCH_MAX);
    this.#send("/v1/traces", spansJson(batch, this.#options.resource), (ok) => {
      this.#counts[ok ? "sent" : "lost"] += batch.length;
    });
  }

  #sendMetrics(metrics: Source): void {
    this.#due = null;
    const times = { since_ms: this.#since_ms, now_ms: this.#options.clock.now() };
    this.#send("/v1/metrics", metricsJson(metrics(), this.#options.resource, times), () => undefined);
  }

  #isResting(): boolean {
    return this.#options.clock.monotonic() < this.#rests_until;
  }

  #send(path: string, body: string, done: (ok: boolean) => void): void {
    const work = async (): Promise<void> => {
      const why = await this.#post(path, body);
      this.#sending = null;
      this.#note(why);
      done(why === null);
      if (this.#due !== null || this.#queue.length >= BATCH_MAX) this.#sendNext();
    };
    this.#sending = work();
  }

  /** Why it was not taken; null: it was. */
  async #post(path: string, body: string): Promise<string | null> {
    const { endpoint, headers } = this.#options;
    try {
      const response = await fetch(endpoint + path, {
        method: "POST",
        headers: { "content-type": "application/json", ...headers },
        body,
        redirect: "manual",
        signal: AbortSignal.timeout(TIMEOUT_MS),
      });
      // What it says is of no interest, and need not end.
      await response.body?.cancel();
      return response.ok ? null : `it answered ${response.status}`;
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  }

  #note(why: string | null): void {
    if (why === null) {
      this.#failures = 0;
      return;
    }
    const { clock, log, endpoint } = this.#options;
    this.#rests_until = clock.monotonic() + Math.min(REST_MAX_MS, REST_MS * 2 ** this.#failures++);
    log.warn(
      "telemetry",
      { endpoint, reason: why },
      "the collector takes no telemetry: what it misses is lost",
    );
  }
}
