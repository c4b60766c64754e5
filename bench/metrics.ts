import { systemClock } from "../src/clock.ts";
import { Measures } from "../src/core/measures.ts";
import { SampledLog } from "../src/core/sampled-log.ts";
import { Stats } from "../src/core/stats.ts";
import type { Bench, Figure } from "./support/bench.ts";
import { openFrames } from "./support/frames.ts";
import { round, spread, withRange } from "./support/numbers.ts";
import { cpuSeconds } from "./support/process.ts";
import { pool } from "./support/rpc.ts";

const CONNECTIONS = 1_000;
const OPEN_AT_ONCE = 64;
/** How often Prometheus looks, unless it is told otherwise. */
const EVERY_SECS = 15;
const AIM_PERCENT = 1;

/** What it costs to be looked at, and what is counted for each event whether anybody looks or not. */
export async function metrics(bench: Bench): Promise<Figure[]> {
  await using gateway = await bench.gateway({ env: { AGENTBUS_GATEWAY_MAX_CONNECTIONS: "1200" } });
  const sockets: { close(): void }[] = [];
  await pool(CONNECTIONS, OPEN_AT_ONCE, async () => {
    sockets.push(await openFrames(gateway.socketUrl, gateway.token, { begin: () => undefined }));
  });
  const scrapes = bench.pick(200, 50);
  const headers = { authorization: `Bearer ${gateway.token}` };
  const scrape = async (): Promise<string> => (await fetch(`${gateway.url}/metrics`, { headers })).text();
  for (let i = 0; i < scrapes / 5; i++) await scrape();
  const rounds: number[] = [];
  const text = await scrape();
  if (!text.includes(`state="connected"} ${CONNECTIONS}`)) throw new Error("connections are missing");
  for (let i = 0; i < 5; i++) {
    const cpu = cpuSeconds(gateway.pid);
    for (let j = 0; j < scrapes; j++) await scrape();
    rounds.push((cpuSeconds(gateway.pid) - cpu) / scrapes);
  }
  for (const socket of sockets) socket.close();
  const ms = spread(rounds.map((secs) => secs * 1_000));
  const percent = (ms.median / 1_000 / EVERY_SECS) * 100;
  return [
    {
      what: `GET /metrics with ${CONNECTIONS.toLocaleString("en-US")} connections, a look each ${EVERY_SECS} s`,
      figure: `${round(percent)} % of a processor; ${withRange(ms, " ms")} a look`,
      aim: `< ${AIM_PERCENT} %`,
      held: percent < AIM_PERCENT,
      data: { ms, percent, bytes: text.length },
    },
    counting(bench),
  ];
}

/** The same calls that the log makes for an event, in a loop: in the gateway they are lost in the noise. */
function counting(bench: Bench): Figure {
  const times = bench.pick(2_000_000, 200_000);
  const quiet = () => undefined;
  const log = { debug: quiet, info: quiet, warn: quiet, error: quiet, child: () => log };
  const stats = new Stats(new SampledLog(systemClock, log));
  const { event_lag } = new Measures();
  const rounds: number[] = [];
  for (let i = 0; i < 5; i++) {
    const began = performance.now();
    for (let j = 0; j < times; j++) {
      const at = systemClock.monotonic();
      stats.event("message.delta");
      stats.rows([]);
      event_lag.observe((systemClock.monotonic() - at) / 1_000);
    }
    rounds.push(((performance.now() - began) / times) * 1e6);
  }
  const ns = spread(rounds);
  return { what: "counting an event that is appended alone", figure: withRange(ns, " ns"), data: { ns } };
}
