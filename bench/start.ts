import type { Bench, Figure } from "./support/bench.ts";
import { spread, withRange } from "./support/numbers.ts";

const AIM_MS = 100;

/** From the start of the process to the answer to its first request. */
export async function start(bench: Bench): Promise<Figure[]> {
  const [fresh, again, raw]: [number[], number[], number[]] = [[], [], []];
  for (let i = -1; i < bench.pick(10, 5); i++) {
    const data_dir = bench.directory();
    const times = [await gatewayMs(bench, data_dir), await gatewayMs(bench, data_dir), await rawMs(bench)];
    // The first ones read the executables from the disk.
    if (i < 0) continue;
    fresh.push(times[0] ?? 0);
    again.push(times[1] ?? 0);
    raw.push(times[2] ?? 0);
  }
  const [first, second, bare] = [spread(fresh), spread(again), spread(raw)];
  const against = `raw ${withRange(bare, " ms")}`;
  const aim = `< ${AIM_MS} ms`;
  return [
    {
      what: "start to first answer, new data directory",
      figure: withRange(first, " ms"),
      against,
      aim,
      held: first.median < AIM_MS,
      data: { fresh, raw },
    },
    {
      what: "start to first answer, again",
      figure: withRange(second, " ms"),
      against,
      aim,
      held: second.median < AIM_MS,
      data: { again, raw },
    },
  ];
}

async function gatewayMs(bench: Bench, data_dir: string): Promise<number> {
  const began = performance.now();
  await using gateway = await bench.gateway({ data_dir });
  return await firstAnswer(`${gateway.url}/health`, began);
}

async function rawMs(bench: Bench): Promise<number> {
  const began = performance.now();
  await using raw = await bench.raw();
  return await firstAnswer(`${raw.url}/health`, began);
}

async function firstAnswer(url: string, began: number): Promise<number> {
  const response = await fetch(url);
  const { status } = (await response.json()) as { status: string };
  if (status !== "healthy") throw new Error(`${url} answered ${status}`);
  return performance.now() - began;
}
