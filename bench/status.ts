import type { Bench, Figure } from "./support/bench.ts";
import { idOf, openRpc } from "./support/rpc.ts";
import { ms, quantiles, ratioText, ratios, round, spread, withRange } from "./support/numbers.ts";
import { cpuSeconds } from "./support/process.ts";

interface Target {
  readonly url: string;
  readonly token: string | null;
  readonly pid: number;
}
interface Measured {
  readonly per_second: number;
  readonly latencies: number[];
  /** Processor time of the server, microseconds a request. */
  readonly cpu: number;
}

const AIM = 0.8;

/** `system.status` against a server that parses the request and answers JSON of the same size. */
export async function status(bench: Bench): Promise<Figure[]> {
  await using gateway = await bench.gateway();
  await using raw = await bench.raw();
  const ours: Target = { url: gateway.socketUrl, token: gateway.token, pid: gateway.pid };
  const other: Target = { url: raw.socketUrl, token: null, pid: raw.pid };
  await copyAnswer(ours, other);
  const figures: Figure[] = [];
  for (const [connections, depth] of [
    [1, 1],
    [16, 8],
  ] as const) {
    figures.push(await compare(bench, ours, other, connections, depth));
  }
  return figures;
}

/** The raw server answers what the gateway does. */
async function copyAnswer(from: Target, to: Target): Promise<void> {
  const [asked, told] = [await openRpc(from.url, from.token), await openRpc(to.url, to.token)];
  await told.request("template", { payload: await asked.request("system.status", {}) });
  asked.close();
  told.close();
}

async function compare(
  bench: Bench,
  ours: Target,
  other: Target,
  connections: number,
  depth: number,
): Promise<Figure> {
  const duration_ms = bench.pick(1_500, 400);
  const run = (target: Target, for_ms = duration_ms) => load(target, connections, depth, for_ms);
  await run(ours, bench.pick(1_000, 300));
  await run(other, bench.pick(1_000, 300));
  const [a, b]: [Measured[], Measured[]] = [[], []];
  for (let pair = 0; pair < bench.pick(5, 3); pair++) {
    a.push(await run(ours));
    b.push(await run(other));
  }
  const rate = spread(a.map((each) => each.per_second));
  const against = ratios(
    a.map((each) => each.per_second),
    b.map((each) => each.per_second),
  );
  const [mine, theirs] = [a, b].map((each) => quantiles(each.flatMap((one) => one.latencies)));
  const [cpu, rawCpu] = [a, b].map((each) => spread(each.map((one) => one.cpu)).median);
  return {
    what: `system.status, ${connections} connection${connections > 1 ? "s" : ""} × ${depth} in flight`,
    figure: `${withRange(rate, "/s")}, p50 ${ms(mine?.p50 ?? 0)}, p99 ${ms(mine?.p99 ?? 0)}`,
    against: `${ratioText(against)}; raw p50 ${ms(theirs?.p50 ?? 0)}, p99 ${ms(theirs?.p99 ?? 0)}`,
    aim: `≥ ${AIM}×`,
    held: against.median >= AIM,
    data: {
      rate,
      against,
      latency_ms: mine,
      raw_latency_ms: theirs,
      cpu_us: round(cpu ?? 0),
      raw_cpu_us: round(rawCpu ?? 0),
    },
  };
}

/** Keeps `depth` requests in flight on each connection for so long. */
async function load(target: Target, connections: number, depth: number, for_ms: number): Promise<Measured> {
  const latencies: number[] = [];
  const state = { open: 0, answered: 0, end: Number.POSITIVE_INFINITY, over: Promise.withResolvers<void>() };
  const lanes = await Promise.all(
    Array.from({ length: connections }, async () => {
      const sent: number[] = Array.from({ length: depth }, () => 0);
      const requests = sent.map((_, i) => `{"type":"req","id":"${i}","method":"system.status","params":{}}`);
      const ask = (i: number): void => {
        state.open++;
        sent[i] = performance.now();
        rpc.send(requests[i] ?? "");
      };
      const rpc = await openRpc(target.url, target.token, (text) => {
        // Signals about other connections come too.
        if (!text.startsWith('{"type":"res"')) return;
        if (!text.includes('"ok":true')) return state.over.reject(new Error(text));
        const now = performance.now();
        const id = Number(idOf(text));
        latencies.push(now - (sent[id] ?? now));
        state.open--;
        state.answered++;
        if (now < state.end) ask(id);
        else if (state.open === 0) state.over.resolve();
      });
      return { rpc, ask };
    }),
  );
  const cpu = cpuSeconds(target.pid);
  const start = performance.now();
  state.end = start + for_ms;
  for (const { ask } of lanes) for (let i = 0; i < depth; i++) ask(i);
  await state.over.promise;
  const seconds = (performance.now() - start) / 1_000;
  const used = cpuSeconds(target.pid) - cpu;
  for (const { rpc } of lanes) rpc.close();
  return { per_second: state.answered / seconds, latencies, cpu: (used * 1e6) / state.answered };
}
