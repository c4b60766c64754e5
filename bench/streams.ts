import type { Bench, Figure } from "./support/bench.ts";
import { ms, round, spread, withRange } from "./support/numbers.ts";
import { cpuSeconds, peakBytes, residentBytes } from "./support/process.ts";
import type { StreamsResult } from "./support/streams-load.ts";

const STREAMS = 1_000;
const SOCKETS = 32;
/** 25,000 tokens a second are more than two cores do; 5,000 are not. */
const PACES_MS = [40, 200];

/** A thousand answers at once. */
export async function streams(bench: Bench): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (const pace_ms of PACES_MS) {
    const what = `${STREAMS.toLocaleString("en-US")} streams at once, a token every ${pace_ms} ms`;
    figures.push(...(await paced(bench, { what, streams: STREAMS, pace_ms })));
  }
  return figures;
}

export interface Paced {
  readonly what: string;
  readonly streams: number;
  readonly pace_ms: number;
  /** Turns before each answer that call a tool. */
  readonly calls?: number;
  readonly env?: Readonly<Record<string, string>>;
}

/** Many answers at once: whether they are whole, and what each token waits for. */
export async function paced(
  bench: Bench,
  { what, streams: count, pace_ms, calls = 0, env = {} }: Paced,
): Promise<Figure[]> {
  await using model = await bench.model();
  await using gateway = await bench.gateway({
    model: model.url,
    env: { AGENTBUS_AGENT_MAX_CONCURRENT_RUNS: "1100", ...env },
  });
  const idle = residentBytes(gateway.pid);
  const cpu = cpuSeconds(gateway.pid);
  const args = {
    url: gateway.socketUrl,
    token: gateway.token,
    model: model.url,
    streams: count,
    sockets: SOCKETS,
    tokens: Math.round(bench.pick(5_000, 1_500) / pace_ms),
    pace: pace_ms,
    rounds: bench.pick(2, 1),
    calls,
  };
  const result = await bench.script<StreamsResult>(
    "streams-load.ts",
    Object.entries(args).map(([name, value]) => `--${name}=${value}`),
    // More than the 256 requests that fetch makes at once.
    { BUN_CONFIG_MAX_HTTP_REQUESTS: String(count + 100) },
  );
  const used = cpuSeconds(gateway.pid) - cpu;
  const { seconds } = result;
  const peak = peakBytes(gateway.pid);
  return [
    wholeness(what, result),
    added(what, result),
    {
      what: `${what}: resident memory at most`,
      figure: `${round(peak / 1024 ** 2)} MiB, ${round(idle / 1024 ** 2)} idle`,
      data: { peak, idle, cpu_seconds: used, seconds, cpu_us_a_token: (used * 1e6) / result.tokens },
    },
  ];
}

function wholeness(what: string, result: StreamsResult): Figure {
  const { lost, doubled, reordered, failed, refused, tokens } = result;
  const whole = lost + doubled + reordered + failed === 0;
  const repeated = refused === 0 ? "" : `; ${refused} sends refused and repeated`;
  return {
    what: `${what}: lost, doubled, reordered`,
    figure: `${lost}, ${doubled}, ${reordered} of ${tokens.toLocaleString("en-US")} tokens${repeated}`,
    aim: "0",
    held: whole,
    ...(!whole && {
      broken: failed > 0 ? `${failed} runs did not complete` : "not every token arrived once",
    }),
  };
}

function added(what: string, { through, direct, frames, tokens }: StreamsResult): Figure {
  const difference = (of: "p50" | "p99") =>
    spread(through.map((each, i) => each[of] - (direct[i]?.[of] ?? 0)));
  const bare = (of: "p50" | "p99") => spread(direct.map((each) => each[of])).median;
  return {
    what: `${what}: added to each token`,
    figure: `p50 ${withRange(difference("p50"), " ms")}, p99 ${withRange(difference("p99"), " ms")}`,
    against: `direct p50 ${ms(bare("p50"))}, p99 ${ms(bare("p99"))}`,
    data: { through, direct, frames, tokens },
  };
}
