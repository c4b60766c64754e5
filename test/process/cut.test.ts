import { afterAll, beforeAll, expect, test } from "bun:test";
import type { RunningGateway } from "../support/gateway-process.ts";
import { startGateway } from "../support/gateway-process.ts";
import { script } from "../support/model-script.ts";
import type { ModelServer } from "../support/model-server.ts";
import { startModelServer } from "../support/model-server.ts";
import type { CaseReport } from "./cut-case.ts";
import { playCase } from "./cut-case.ts";

const CASES = Number(Bun.env["AGENTBUS_TEST_CUTS"] ?? 300);
const SEED = Number(Bun.env["AGENTBUS_TEST_SEED"] ?? Math.floor(Math.random() * 1_000_000_000));
const AT_ONCE = 16;

let model: ModelServer;
let gateways: RunningGateway[] = [];

beforeAll(async () => {
  model = await startModelServer({ keep: false });
  model.otherwise(({ body }) => {
    // "say 57 3": so many tokens, one per so many milliseconds.
    const [, count, pace] = String(body.messages.at(-1).content).split(" ");
    return script().tokens(Number(count), { everyMs: Number(pace) });
  });
  const llm = {
    default_provider: "test",
    default_model: "test/model",
    providers: { test: { base_url: model.url() } },
  };
  const gateway = { heartbeat_interval_secs: 1 };
  gateways = await Promise.all([
    startGateway({ config: { gateway, llm } }),
    // Every token an event, and bounds so small that all ways of catching up are taken.
    startGateway({
      config: {
        gateway,
        llm,
        limits: { delta_window_ms: 1, tail_events: 12, far_events: 60, catch_up_buffer_bytes: 1_000 },
      },
    }),
  ]);
});
afterAll(async () => {
  await Promise.all(gateways.map((gateway) => gateway[Symbol.asyncDispose]()));
  model.stop();
});

test(
  `${CASES} sessions whose connections are cut anywhere: nothing lost, doubled or out of order`,
  async () => {
    const reports: CaseReport[] = [];
    const failures: string[] = [];
    let next = 0;
    const work = async (): Promise<void> => {
      while (next < CASES && failures.length < 5) {
        const index = next++;
        const seed = SEED + index;
        const gateway = gateways[seed % gateways.length];
        if (gateway === undefined) throw new Error("no gateway");
        try {
          reports.push(await playCase(gateway, seed));
        } catch (error) {
          failures.push(`AGENTBUS_TEST_CUTS=1 AGENTBUS_TEST_SEED=${seed}: ${(error as Error).stack}`);
        }
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, work));
    console.log(tell(reports));
    expect(failures.join("\n\n")).toBe("");
    expect(reports.length).toBe(CASES);
    for (const gateway of gateways) expect(gateway.log.filter(({ level }) => level === "error")).toEqual([]);
  },
  { timeout: 60_000 + CASES * 1_000 },
);

function tell(reports: readonly CaseReport[]): string {
  const sum = (value: (report: CaseReport) => number): number =>
    reports.reduce((all, each) => all + value(each), 0);
  const opened = `${sum(({ openings }) => openings.resume)} resumed, ${sum(({ openings }) => openings.snapshot)} snapshots`;
  const cuts = `${sum(({ cuts: each }) => each)} cuts in ${sum(({ connections }) => connections)} connections`;
  return `${reports.length} cases from seed ${SEED}: ${cuts}, ${opened}, ${sum(({ events }) => events)} events`;
}
