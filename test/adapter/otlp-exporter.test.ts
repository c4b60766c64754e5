import { expect, test } from "bun:test";
import { SampledLog } from "../../src/core/sampled-log.ts";
import { one } from "../../src/telemetry/family.ts";
import { OtlpExporter } from "../../src/telemetry/otlp-exporter.ts";
import type { Span } from "../../src/telemetry/span.ts";
import { manualClock } from "../support/clock.ts";
import { Collector } from "../support/collector.ts";
import { silentLog } from "../support/engine.ts";
import { until } from "../support/serve-sockets.ts";

/** When spans and metrics are sent, by a clock that the test moves, to a collector it slows down. */

const METRICS_MS = 12_000;
/** What is sent every five seconds goes. */
const FLUSH_MS = 5_000;

const SPAN: Span = {
  context: { trace_id: "0af7651916cd43dd8448eb211c80319c", span_id: "b7ad6b7169203331", sampled: true },
  parent: null,
  name: "work",
  kind: "internal",
  start_ms: 1_763_776_800_000,
  end_ms: 1_763_776_800_001,
  attributes: {},
};

function begin(collector: Collector) {
  const clock = manualClock();
  const log = new SampledLog(clock, silentLog);
  const exporter = new OtlpExporter({ endpoint: collector.url, headers: {}, resource: {}, clock, log });
  exporter.start(() => [one("gauge", "runs", "Runs.", 3)], METRICS_MS);
  const push = (count: number): void => {
    for (let i = 0; i < count; i++) exporter.push(SPAN);
  };
  const { promise, resolve: release } = Promise.withResolvers<void>();
  collector.held = promise;
  return { clock, exporter, push, release };
}

test("metrics whose time comes while spans are on their way are the next that is sent, however many spans wait", async () => {
  await using collector = new Collector();
  const { clock, exporter, push, release } = begin(collector);
  push(2_000);
  await until(() => collector.requests === 1);
  clock.advance(METRICS_MS);
  release();
  await until(() => collector.requests === 4);
  expect(collector.paths).toEqual(["/v1/traces", "/v1/metrics", "/v1/traces", "/v1/traces"]);
  await exporter.close();
  expect([collector.spans.length, collector.metrics.size, collector.complaints]).toEqual([2_000, 1, []]);
});

test("metrics whose time comes while the collector is left alone are sent once that is over", async () => {
  await using collector = new Collector();
  const { clock, exporter, push, release } = begin(collector);
  clock.advance(METRICS_MS - 100);
  collector.answer = 503;
  push(512);
  await until(() => collector.requests === 1);
  release();
  const lost = (): number | null | undefined => {
    const [family] = exporter.families();
    return family?.kind === "counter" ? family.values.at(-1)?.value : null;
  };
  await until(() => lost() === 512);
  clock.advance(100);
  collector.answer = 200;
  expect(collector.requests).toBe(1);
  clock.advance(2 * FLUSH_MS);
  await until(() => collector.metrics.size === 1);
  expect(collector.paths).toEqual(["/v1/traces", "/v1/metrics"]);
  await exporter.close();
});

test.each([1_024, 2_000])("what waits at the end is sent, all %i of it", async (count) => {
  await using collector = new Collector();
  const { exporter, push, release } = begin(collector);
  push(count);
  const closed = exporter.close();
  release();
  await closed;
  expect([collector.spans.length, collector.complaints]).toEqual([count, []]);
});
