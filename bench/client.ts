import { join } from "node:path";
import { brotliCompressSync } from "node:zlib";
import { buildClient } from "../scripts/pack-client.ts";
import { openCuts } from "../test/support/client-cuts.ts";
import type { Driven } from "../test/support/client-driver.ts";
import type { Bench, Figure } from "./support/bench.ts";
import { quantiles, round } from "./support/numbers.ts";

const ROOT = join(import.meta.dir, "..");
const AIM_BYTES = 10_240;
const SESSIONS = 6;
const SEED = 7;
const RUNTIMES = { Bun: "bun", "Node 22": "node 22", Chromium: "chromium" } as const;

/** What the TypeScript client weighs, and what it makes of connections that are cut at random places. */
export async function client(bench: Bench): Promise<Figure[]> {
  const figures = [await weight()];
  let gateway: { address: string; token: string } | null = null;
  const nowhere = { address: "127.0.0.1:1", token: "" };
  await using cuts = openCuts({ seed: SEED, sessions: SESSIONS, gateway: () => gateway ?? nowhere });
  const env = {
    AGENTBUS_SERVER_ALLOWED_ORIGINS: cuts.origins.join(","),
    AGENTBUS_LLM_DEFAULT_PROVIDER: "demo",
    AGENTBUS_LLM_DEFAULT_MODEL: "demo",
  };
  await using running = await bench.gateway({ env });
  gateway = { address: new URL(running.url).host, token: running.token };
  for (const [name, runtime] of Object.entries(RUNTIMES)) {
    const count = bench.pick(200, 20);
    bench.say(`${count} cuts in ${name}`);
    figures.push(...told(name, count, await cuts.run(runtime, count)));
  }
  return figures;
}

async function weight(): Promise<Figure> {
  const kib = (size: number): string => `${round(size / 1024)} KiB`;
  const weights = (await buildClient(ROOT, true)).map(({ name, text }) => {
    const bytes = Buffer.from(text);
    const gzip = Bun.gzipSync(bytes, { level: 9 }).length;
    return { name, bytes: bytes.length, gzip, brotli: brotliCompressSync(bytes).length };
  });
  const [{ brotli, gzip } = { brotli: Number.NaN, gzip: Number.NaN }, ...parts] = weights;
  return {
    what: "the TypeScript client, minified and compressed",
    figure: `${kib(brotli)} (brotli), ${kib(gzip)} (gzip)`,
    against: `loaded where it is needed: ${parts.map((part) => `${part.name} ${kib(part.brotli)}`).join(", ")}`,
    aim: "≤ 10 KiB",
    held: brotli <= AIM_BYTES,
    data: { weights },
  };
}

function told(name: string, count: number, { answers, wrong, caught_up_ms }: Driven): Figure[] {
  const { p50, p99, max } = quantiles(caught_up_ms);
  return [
    {
      what: `${count} random cuts of the client in ${name}: answers with a token lost, doubled or reordered`,
      figure: `${wrong.length} of ${answers}`,
      aim: "0",
      held: wrong.length === 0,
      ...(wrong[0] !== undefined && { broken: wrong[0] }),
    },
    {
      what: `from a lost connection to caught up, in ${name}`,
      figure: `p50 ${round(p50)} ms, p99 ${round(p99)} ms, most ${round(max)} ms`,
      data: { caught_up_ms },
    },
  ];
}
