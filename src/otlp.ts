import { hostname } from "node:os";
import type { Config } from "./config.ts";
import { configured } from "./config/error.ts";
import type { Clock, Logger } from "./core/ports.ts";
import { SampledLog } from "./core/sampled-log.ts";
import type { Tracing } from "./core/tracing.ts";
import type { Engine } from "./engine.ts";
import type { Family, Source } from "./telemetry/family.ts";
import { by } from "./telemetry/family.ts";
import { GenAiMeasures } from "./telemetry/gen-ai-measures.ts";
import { OtlpExporter } from "./telemetry/otlp-exporter.ts";
import { Tracer } from "./telemetry/tracer.ts";

/** Traces and metrics on their way to a collector. */
export interface Otlp {
  /** Undefined: nothing is sent, and nothing traced. */
  readonly tracing: Tracing | undefined;
  /** What was sent, and lost. */
  families(): Family[];
  /** What begins to send, once, what is measured and what the engine does. */
  over(engine: Engine, metrics: Source): { start(): void; close(): Promise<void> };
}

const FORGET_MS = 60_000;

/** @throws ConfigError where the collector's address or its headers cannot be used */
export function createOtlp(config: Config, version: string, clock: Clock, log: Logger): Otlp {
  const { otlp_endpoint, otlp_headers, sample_percent, metrics_interval_secs } = config.telemetry;
  if (otlp_endpoint === "") return NOTHING;
  const { endpoint, headers } = configured(() => readTarget(otlp_endpoint, otlp_headers));
  const resource = {
    "service.name": "agentbus",
    "service.version": version,
    "service.instance.id": `${hostname()}-${process.pid}`,
  };
  const exporter = new OtlpExporter({ endpoint, headers, resource, clock, log: new SampledLog(clock, log) });
  const measures = new GenAiMeasures();
  const ratio = sample_percent / 100;
  const sink = exporter.push.bind(exporter);
  const content = (): boolean => config.log.content;
  const tracer = new Tracer({ clock, sink, measures, ratio, content });
  let stop: (() => void)[] = [];
  return {
    tracing: tracer,
    families: () => exporter.families(),
    over: ({ runs, observers }, metrics) => ({
      start() {
        stop = [
          tracer.watch(observers),
          clock.every(FORGET_MS, () => tracer.forgetThose((run_id) => runs.get(run_id) === undefined)),
        ];
        exporter.start(() => [...metrics(), ...measures.families()], metrics_interval_secs * 1_000);
      },
      async close() {
        for (const each of stop.splice(0)) each();
        await exporter.close();
      },
    }),
  };
}

/** The same metric is there with nothing in it. */
const NOTHING: Otlp = {
  tracing: undefined,
  families: () => [
    by("counter", "agentbus_telemetry_spans", "Spans for the collector.", "outcome", [
      ["sent", 0],
      ["lost", 0],
    ]),
  ],
  over: () => ({ start: () => undefined, close: () => Promise.resolve() }),
};

/** @throws Error, a line that says what to do */
function readTarget(address: string, headers: string) {
  const url = URL.parse(address);
  if (
    url === null ||
    !/^https?:$/.test(url.protocol) ||
    url.search !== "" ||
    url.username + url.password !== ""
  ) {
    throw new Error(
      "telemetry.otlp_endpoint is no http(s) address: set it to one like http://127.0.0.1:4318, with what it wants to know in telemetry.otlp_headers",
    );
  }
  const pairs = headers
    .split(",")
    .map((pair) => pair.trim())
    .filter((pair) => pair !== "");
  return { endpoint: address.replace(/\/+$/, ""), headers: Object.fromEntries(pairs.map(readHeader)) };
}

function readHeader(pair: string): [string, string] {
  const at = pair.indexOf("=");
  const name = pair.slice(0, Math.max(at, 0)).trim();
  if (/^[A-Za-z0-9-]+$/.test(name)) return [name, decodeURIComponent(pair.slice(at + 1).trim())];
  throw new Error("telemetry.otlp_headers: write name=value, several with a comma in between");
}
