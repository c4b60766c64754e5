/** A span as a collector has it. */
export interface CollectedSpan {
  readonly trace_id: string;
  readonly span_id: string;
  /** "" for one that begins a trace. */
  readonly parent: string;
  readonly name: string;
  readonly kind: number;
  readonly start_ms: number;
  readonly end_ms: number;
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly error: string | null;
}

export interface CollectedPoint {
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly value?: number;
  readonly count?: number;
  readonly sum?: number;
}

/** What a collector answers; "hang": nothing. */
type Answer = number | "hang";

/** A collector of OpenTelemetry's protocol over HTTP that takes nothing that is not as the protocol says. */
export class Collector implements AsyncDisposable {
  readonly spans: CollectedSpan[] = [];
  /** The last points of each metric. */
  readonly metrics = new Map<string, readonly CollectedPoint[]>();
  readonly headers: Headers[] = [];
  readonly resources: Readonly<Record<string, unknown>>[] = [];
  /** What could not be read. */
  readonly complaints: string[] = [];
  answer: Answer = 200;
  /** What every answer waits for. */
  held: Promise<void> = Promise.resolve();
  /** Where it was asked, one after the other. */
  readonly paths: string[] = [];
  readonly #server: Bun.Server<undefined>;

  constructor() {
    this.#server = Bun.serve({
      port: 0,
      hostname: "127.0.0.1",
      idleTimeout: 0,
      fetch: (request) => this.#take(request),
    });
  }

  get requests(): number {
    return this.paths.length;
  }
  get url(): string {
    return `http://127.0.0.1:${this.#server.port}`;
  }
  named(name: string): CollectedSpan[] {
    return this.spans.filter((span) => span.name === name);
  }
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.stop(true);
  }

  async #take(request: Request): Promise<Response> {
    const { pathname } = new URL(request.url);
    this.paths.push(pathname);
    this.headers.push(request.headers);
    const text = await request.text();
    await this.held;
    if (this.answer === "hang") return new Promise(() => undefined);
    if (this.answer !== 200) return new Response("no", { status: this.answer });
    try {
      this.#read(pathname, JSON.parse(text));
    } catch (error) {
      this.complaints.push(`${String(error)}: ${text.slice(0, 500)}`);
    }
    return Response.json({});
  }

  // oxlint-disable-next-line typescript/no-explicit-any -- it is looked at part by part
  #read(path: string, body: any): void {
    if (path === "/v1/traces") {
      for (const { resource, scopeSpans } of body.resourceSpans) {
        this.resources.push(attributesOf(resource.attributes));
        for (const { spans } of scopeSpans) this.spans.push(...spans.map(spanOf));
      }
      return;
    }
    if (path !== "/v1/metrics") throw new Error(`nothing is at ${path}`);
    for (const { scopeMetrics } of body.resourceMetrics) {
      for (const { metrics } of scopeMetrics) {
        for (const metric of metrics) this.metrics.set(metric.name, pointsOf(metric));
      }
    }
  }
}

// oxlint-disable-next-line typescript/no-explicit-any -- as above
function spanOf(span: any): CollectedSpan {
  const { traceId, spanId, parentSpanId = "", name, kind, status, attributes } = span;
  must(/^[0-9a-f]{32}$/.test(traceId) && /^[0-9a-f]{16}$/.test(spanId), "ids");
  must(parentSpanId === "" || /^[0-9a-f]{16}$/.test(parentSpanId), "a parent");
  must(typeof name === "string" && name !== "" && [1, 2, 3].includes(kind), "a name and a kind");
  const [start_ms, end_ms] = [millis(span.startTimeUnixNano), millis(span.endTimeUnixNano)];
  must(start_ms <= end_ms, "an order of times");
  return {
    trace_id: traceId,
    span_id: spanId,
    parent: parentSpanId,
    name,
    kind,
    start_ms,
    end_ms,
    attributes: attributesOf(attributes),
    error: status.code === 2 ? status.message : null,
  };
}

// oxlint-disable-next-line typescript/no-explicit-any -- as above
function pointsOf(metric: any): CollectedPoint[] {
  const { sum, gauge, histogram } = metric;
  must([sum, gauge, histogram].filter((each) => each !== undefined).length === 1, "one kind");
  if (gauge === undefined) must((sum ?? histogram).aggregationTemporality === 2, "a temporality");
  // oxlint-disable-next-line typescript/no-explicit-any -- as above
  return (sum ?? gauge ?? histogram).dataPoints.map((point: any) => {
    must(millis(point.startTimeUnixNano) <= millis(point.timeUnixNano), "an order of times");
    const attributes = attributesOf(point.attributes);
    if (histogram === undefined) return { attributes, value: point.asDouble };
    const counts = point.bucketCounts.map(Number);
    must(counts.length === point.explicitBounds.length + 1, "a count for each bucket");
    const count = Number(point.count);
    must(count === counts.reduce((total: number, each: number) => total + each, 0), "counts that add up");
    return { attributes, count, sum: point.sum };
  });
}

// oxlint-disable-next-line typescript/no-explicit-any -- as above
function attributesOf(attributes: any[]): Record<string, unknown> {
  return Object.fromEntries(
    attributes.map(({ key, value }) => {
      const [[kind, told] = [""]] = Object.entries(value as object) as [string, unknown][];
      must(["stringValue", "boolValue", "intValue", "doubleValue"].includes(kind), "a value");
      must(kind !== "intValue" || /^-?\d+$/.test(String(told)), "a whole number as text");
      return [key, kind === "intValue" ? Number(told) : told];
    }),
  );
}

function millis(nanos: unknown): number {
  must(typeof nanos === "string" && /^\d{19}$/.test(nanos), "nanoseconds as text");
  return Number(String(nanos).slice(0, -6));
}

function must(holds: boolean, what: string): void {
  if (!holds) throw new Error(`there is not ${what}`);
}
