import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Cuts } from "../support/client-cuts.ts";
import { openCuts } from "../support/client-cuts.ts";
import type { RunningGateway } from "../support/gateway-process.ts";
import { startGateway } from "../support/gateway-process.ts";
import { needs } from "../support/needs.ts";

/** Cuts in each runtime; without it a few. */
const CUTS = Bun.env["AGENTBUS_TEST_CLIENT_CUTS"];
const SEED = Number(Bun.env["AGENTBUS_TEST_SEED"] ?? Math.floor(Math.random() * 1_000_000_000));
const SESSIONS = 6;
const HAS_CHROMIUM = needs("chromium", "chromium");
const HAS_NODE = needs("npx", "npm");

let gateway: RunningGateway;
let cuts: Cuts;

beforeAll(async () => {
  cuts = openCuts({ seed: SEED, sessions: SESSIONS, gateway: () => gateway });
  gateway = await startGateway({ config: { server: { allowed_origins: cuts.origins } } });
}, 60_000);
afterAll(async () => {
  await cuts[Symbol.asyncDispose]();
  await gateway[Symbol.asyncDispose]();
});

for (const [where, runtime, few, transport] of [
  ["in Bun", "bun", 40, "websocket"],
  ["in Bun without a socket", "bun", 20, "sse"],
  ["in Node 22", "node 22", 10, "auto"],
  ["in Node 20", "node 20", 10, "auto"],
  ["in Deno", "deno", 10, "auto"],
  ["in Chromium", "chromium", 10, "auto"],
] as const) {
  const here = runtime === "bun" || (runtime === "chromium" ? HAS_CHROMIUM : HAS_NODE);
  const count = Number(CUTS ?? few);
  test.skipIf(!here)(
    `${where} a client that is cut off ${count} times loses nothing and shows nothing twice`,
    async () => {
      const stalls = CUTS === undefined ? 1 : Number.POSITIVE_INFINITY;
      const { wrong, connections, answers, caught_up_ms } = await cuts.run(runtime, count, {
        stalls,
        transport,
      });
      const waits = caught_up_ms.toSorted((a, b) => a - b).map(Math.round);
      const told = `${answers} answers, ${waits.length} times caught up, median ${waits[waits.length >> 1]} ms, longest ${waits.at(-1)} ms`;
      console.log(`${where}, seed ${SEED}: ${told}`);
      expect(wrong).toEqual([]);
      expect(connections).toHaveLength(SESSIONS);
    },
    120_000 + count * 2_000,
  );
}
