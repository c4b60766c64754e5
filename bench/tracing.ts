import type { Bench, Figure } from "./support/bench.ts";
import type { GatewayProcess } from "./support/gateway.ts";
import { order } from "./support/model.ts";
import { round, spread, withRange } from "./support/numbers.ts";
import { cpuSeconds } from "./support/process.ts";
import { pool } from "./support/rpc.ts";

const AT_ONCE = 8;
const TOKENS = 20;

/** What traces cost: the same talks with a collector that takes everything, and without one. */
export async function tracing(bench: Bench): Promise<Figure[]> {
  await using model = await bench.model();
  let spans = 0;
  const collector = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    async fetch(request) {
      spans += (await request.text()).split('"spanId"').length - 1;
      return new Response("{}");
    },
  });
  const env = {
    AGENTBUS_TELEMETRY_OTLP_ENDPOINT: `http://127.0.0.1:${collector.port}`,
    AGENTBUS_TELEMETRY_METRICS_INTERVAL_SECS: "0",
  };
  await using off = await bench.gateway({ model: model.url });
  await using on = await bench.gateway({ model: model.url, env });
  const [without, traced]: [number[], number[]] = [[], []];
  const runs = bench.pick(400, 100);
  for (let round_ = -1; round_ < bench.pick(5, 2); round_++) {
    const [a, b] = [await talk(off, runs, round_), await talk(on, runs, round_)];
    // The first one warms both up.
    if (round_ < 0) continue;
    without.push(a);
    traced.push(b);
  }
  await collector.stop(true);
  const [before, after] = [spread(without), spread(traced)];
  const added = spread(traced.map((value, i) => value - (without[i] ?? 0)));
  return [
    {
      what: `traces: added to an event, ${runs} talks of ${TOKENS} tokens`,
      figure: withRange(added, " µs"),
      against: `${round(after.median)} µs of a processor an event with, ${round(before.median)} without`,
      data: { added_us: added, on_us: after, off_us: before, spans },
      ...(spans === 0 && { broken: "the collector got nothing" }),
    },
  ];
}

/** Microseconds of a processor for each event that was committed. */
async function talk(gateway: GatewayProcess, runs: number, round_: number): Promise<number> {
  const before = await events(gateway);
  const cpu = cpuSeconds(gateway.pid);
  let next = 0;
  await pool(runs, AT_ONCE, async () => {
    const session_id = `bench-${round_}-${next++}`;
    const answer = await fetch(`${gateway.url}/api/v1/chat`, {
      method: "POST",
      headers: { authorization: `Bearer ${gateway.token}`, "content-type": "application/json" },
      body: JSON.stringify({ session_id, message: order({ tokens: TOKENS, pace_ms: 2 }), wait: true }),
    });
    if (answer.status !== 200) throw new Error(`a talk was answered ${answer.status}`);
    await answer.text();
  });
  const used = cpuSeconds(gateway.pid) - cpu;
  return (used * 1e6) / ((await events(gateway)) - before);
}

async function events({ url, token }: GatewayProcess): Promise<number> {
  const answer = await fetch(`${url}/metrics`, { headers: { authorization: `Bearer ${token}` } });
  const lines = (await answer.text()).split("\n").filter((line) => line.startsWith("agentbus_events_total{"));
  return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" ") + 1)), 0);
}
