import type { Bench, Figure } from "./support/bench.ts";
import { spread, withRange } from "./support/numbers.ts";

const AIM_MS = 100;

/** What a script waits for one request on the command line: a process, a connection, an answer. */
export async function call(bench: Bench): Promise<Figure[]> {
  await using gateway = await bench.gateway();
  const [calls, versions]: [number[], number[]] = [[], []];
  for (let i = -1; i < bench.pick(20, 8); i++) {
    const env = { AGENTBUS_URL: gateway.url, AGENTBUS_TOKEN: gateway.token };
    const [called, bare] = [
      timed([...bench.command, "call", "system.info"], env),
      timed([...bench.command, "version"], env),
    ];
    // The first ones read the executable from the disk.
    if (i < 0) continue;
    calls.push(called);
    versions.push(bare);
  }
  const all = spread(calls);
  return [
    {
      what: "`agentbus call system.info`, the whole process",
      figure: withRange(all, " ms"),
      against: `\`agentbus version\` ${withRange(spread(versions), " ms")}`,
      aim: `< ${AIM_MS} ms`,
      held: all.median < AIM_MS,
      data: { calls, versions },
    },
  ];
}

function timed(command: string[], env: Record<string, string>): number {
  const began = performance.now();
  const { exitCode, stderr } = Bun.spawnSync(command, { env: { ...process.env, ...env }, stdin: "ignore" });
  if (exitCode !== 0) throw new Error(`${command.join(" ")} ended with ${exitCode}: ${stderr.toString()}`);
  return performance.now() - began;
}
