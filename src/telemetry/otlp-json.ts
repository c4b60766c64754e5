import type { Family, Labels } from "./family.ts";
import type { Attribute, Attributes, Span } from "./span.ts";

/** OpenTelemetry's protocol, as JSON. Integers of 64 bits are text there. */

const SCOPE = "agentbus";
const KINDS = { internal: 1, server: 2, client: 3 } as const;
const STATUS_ERROR = 2;
/** Counts since the start of the process. */
const CUMULATIVE = 2;

export function spansJson(spans: readonly Span[], resource: Attributes): string {
  const told = spans.map((span) => ({
    traceId: span.context.trace_id,
    spanId: span.context.span_id,
    ...(span.parent !== null && { parentSpanId: span.parent }),
    name: span.name,
    kind: KINDS[span.kind],
    startTimeUnixNano: nanos(span.start_ms),
    endTimeUnixNano: nanos(span.end_ms),
    attributes: attributesOf({ ...span.attributes, "error.type": span.error }),
    status: span.error === undefined ? {} : { code: STATUS_ERROR, message: span.error },
  }));
  return JSON.stringify({
    resourceSpans: [
      {
        resource: { attributes: attributesOf(resource) },
        scopeSpans: [{ scope: { name: SCOPE }, spans: told }],
      },
    ],
  });
}

/** `since_ms`: when counting began. */
export function metricsJson(
  families: readonly Family[],
  resource: Attributes,
  { since_ms, now_ms }: { readonly since_ms: number; readonly now_ms: number },
): string {
  const times = { startTimeUnixNano: nanos(since_ms), timeUnixNano: nanos(now_ms) };
  const metrics = families.map((family) => metricOf(family, times));
  return JSON.stringify({
    resourceMetrics: [
      {
        resource: { attributes: attributesOf(resource) },
        scopeMetrics: [{ scope: { name: SCOPE }, metrics }],
      },
    ],
  });
}

interface Times {
  readonly startTimeUnixNano: string;
  readonly timeUnixNano: string;
}

function metricOf(family: Family, times: Times): object {
  const { name, help } = family;
  const about = { name, description: help, unit: unitOf(name) };
  if (family.kind === "histogram") {
    const dataPoints = family.spreads.map(({ labels, histogram }) => ({
      ...times,
      attributes: labelsOf(labels),
      count: String(histogram.count),
      sum: histogram.sum,
      bucketCounts: histogram.counts.map(String),
      explicitBounds: histogram.bounds,
    }));
    return { ...about, histogram: { dataPoints, aggregationTemporality: CUMULATIVE } };
  }
  const dataPoints = family.values.flatMap(({ labels, value }) =>
    value === null ? [] : [{ ...times, attributes: labelsOf(labels), asDouble: value }],
  );
  if (family.kind === "gauge") return { ...about, gauge: { dataPoints } };
  return { ...about, sum: { dataPoints, aggregationTemporality: CUMULATIVE, isMonotonic: true } };
}

function unitOf(name: string): string {
  if (name.includes("duration") || name.includes("seconds")) return "s";
  if (name.includes("bytes")) return "By";
  return name.includes("token") ? "{token}" : "1";
}

function labelsOf(labels: Labels): object[] {
  return attributesOf(labels);
}

function attributesOf(attributes: Attributes): object[] {
  return Object.entries(attributes).flatMap(([key, value]) =>
    value === undefined ? [] : [{ key, value: valueOf(value) }],
  );
}

function valueOf(value: Attribute): object {
  if (typeof value === "string") return { stringValue: value };
  if (typeof value === "boolean") return { boolValue: value };
  if (typeof value !== "number") return { arrayValue: { values: value.map(valueOf) } };
  return Number.isInteger(value) ? { intValue: String(value) } : { doubleValue: value };
}

function nanos(ms: number): string {
  return `${Math.round(ms * 1_000)}000`;
}
