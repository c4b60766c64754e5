import { bigMessage } from "./fanout-big.ts";
import type { Side } from "./fanout-sides.ts";
import { SESSION, closeSides, openSides } from "./fanout-sides.ts";
import type { Bench, Figure } from "./support/bench.ts";
import type { GatewayProcess } from "./support/gateway.ts";
import { ratioText, ratios, spread, withRange } from "./support/numbers.ts";
import { cpuSeconds } from "./support/process.ts";
import type { RawProcess } from "./support/raw.ts";
import { poolOver } from "./support/rpc.ts";

const AIM = 0.8;
const WATCHERS = [1, 10, 100, 1_000];
const IN_FLIGHT = 16;
/** About what a token of an answer weighs as a frame. */
const PAYLOAD = { text: "a few words of an answer" };

interface Measured {
  readonly per_second: number;
  /** Processor time of the server a delivery, microseconds. */
  readonly cpu: number;
}

/** Every watcher of a session gets every event of it. */
export async function fanout(bench: Bench): Promise<Figure[]> {
  await using model = await bench.model();
  await using gateway = await bench.gateway({
    model: model.url,
    env: { AGENTBUS_GATEWAY_MAX_CONNECTIONS: "1200" },
  });
  await using raw = await bench.raw();
  const figures: Figure[] = [];
  for (const durable of [true, false]) {
    for (const count of WATCHERS) figures.push(await compare(bench, gateway, raw, count, durable));
  }
  return [...figures, ...(await bigMessage(bench, gateway, raw))];
}

async function compare(
  bench: Bench,
  gateway: GatewayProcess,
  raw: RawProcess,
  count: number,
  durable: boolean,
): Promise<Figure> {
  const [ours, other] = await openSides(gateway, raw, count);
  const most = Math.round(bench.pick(600_000, 150_000) / count);
  const events = Math.max(bench.pick(512, 256), Math.min(bench.pick(10_000, 2_000), most));
  const run = (side: Side): Promise<Measured> => publish(side, events, durable);
  await run(ours);
  await run(other);
  const [a, b]: [Measured[], Measured[]] = [[], []];
  for (let pair = 0; pair < bench.pick(5, 2); pair++) {
    a.push(await run(ours));
    b.push(await run(other));
  }
  closeSides([ours, other]);
  const [mine, theirs] = [a, b].map((each) => each.map((one) => one.per_second));
  const [cpu_us, raw_cpu_us] = [a, b].map((each) => spread(each.map((one) => one.cpu)).median);
  const rate = spread(mine ?? []);
  const against = ratios(mine ?? [], theirs ?? []);
  const frames = { frame_bytes: ours.watchers.bytes, raw_frame_bytes: other.watchers.bytes };
  return {
    what: `fan-out of ${durable ? "durable events" : "signals"}, watchers: ${count.toLocaleString("en-US")}`,
    figure: withRange(rate, " deliveries/s"),
    against: ratioText(against),
    aim: `≥ ${AIM}×`,
    held: against.median >= AIM,
    data: { rate, raw_rate: spread(theirs ?? []), against, events, ...frames, cpu_us, raw_cpu_us },
  };
}

/** Until every watcher has every event; publishers keep their requests in flight full. */
async function publish(side: Side, events: number, durable: boolean): Promise<Measured> {
  const { publishers, watchers, count, pid } = side;
  watchers.reset();
  const deliveries = events * count;
  const all = watchers.all(deliveries);
  const cpu = cpuSeconds(pid);
  const start = performance.now();
  const params = { session_id: SESSION, event: "app.bench", payload: PAYLOAD, durable };
  await poolOver(publishers, events, IN_FLIGHT, (rpc) => rpc.request("event.send", params));
  await all;
  const seconds = (watchers.last_ms - start) / 1_000;
  if (watchers.received !== deliveries) throw new Error(`${watchers.received} deliveries of ${deliveries}`);
  return { per_second: deliveries / seconds, cpu: ((cpuSeconds(pid) - cpu) * 1e6) / deliveries };
}
