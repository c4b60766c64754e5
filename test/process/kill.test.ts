import type { Subprocess } from "bun";
import { afterAll, beforeAll, expect, test } from "bun:test";
import { resolve } from "node:path";
import { startGateway } from "../support/gateway-process.ts";
import { MODEL_PACE_MS, MODEL_TOKENS } from "./kill-ledger.ts";
import type { KillReport } from "./kill-loop.ts";
import { KillLoop } from "./kill-loop.ts";

const KILLS = Number(Bun.env["AGENTBUS_TEST_KILLS"] ?? 30);
const SEED = Number(Bun.env["AGENTBUS_TEST_SEED"] ?? Math.floor(Math.random() * 1_000_000_000));
/** Generous: a loaded machine, starting from the sources. */
const STARTUP_MS = 10_000;

let model: Subprocess<"ignore", "pipe", "inherit">;
let model_url = "";

beforeAll(async () => {
  // In a process of its own, so that its pace does not hang on what the test is doing.
  const source = resolve(import.meta.dir, "../support/model-server.ts");
  const options = ["--port", "0", "--tokens", String(MODEL_TOKENS), "--pace", String(MODEL_PACE_MS)];
  const pipes = { stdin: "ignore", stdout: "pipe", stderr: "inherit" } as const;
  model = Bun.spawn([process.execPath, source, ...options], pipes);
  const { value } = await model.stdout.getReader().read();
  model_url = (JSON.parse(new TextDecoder().decode(value)) as { url: string }).url;
});
afterAll(() => model.kill());

// A kill takes the process and leaves the system: what was committed is there, whether it was synced to the disk or not.
for (const [durability, kills] of [
  ["full", KILLS],
  ["normal", Math.ceil(KILLS / 3)],
] as const) {
  test(
    `${kills} kills in the middle of ten answers, durability ${durability}: nothing seen or promised is lost`,
    async () => {
      const providers = { test: { base_url: model_url } };
      await using gateway = await startGateway({
        config: {
          storage: { durability },
          llm: { default_provider: "test", default_model: "test/model", providers },
        },
      });
      await using loop = new KillLoop(gateway, SEED);
      try {
        await loop.begin();
        for (let cycle = 0; cycle < kills; cycle++) await loop.cycle(cycle);
        const report = await loop.finish();
        console.log(tell(report));
        expect(Math.max(...report.startups)).toBeLessThan(STARTUP_MS);
        // That the kills hit what they were meant to hit.
        expect(report.interrupted).toBeGreaterThan(kills);
        expect(report.attempts).toBeGreaterThan(report.requests);
      } catch (error) {
        throw new Error(`AGENTBUS_TEST_SEED=${SEED}: ${(error as Error).message}`, { cause: error });
      }
    },
    { timeout: 30_000 + kills * 15_000 },
  );
}

function tell({ startups, interrupted, events, requests, attempts, openings }: KillReport): string {
  const sorted = startups.toSorted((a, b) => a - b);
  const median = Math.round(sorted[Math.floor(sorted.length / 2)] ?? 0);
  const most = Math.round(sorted.at(-1) ?? 0);
  return (
    `${startups.length} kills from seed ${SEED}: ${interrupted} runs interrupted, ${events} events, ${requests} requests ` +
    `in ${attempts} attempts, ${openings} openings; start-up median ${median} ms, most ${most} ms`
  );
}
