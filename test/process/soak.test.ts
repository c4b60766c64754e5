import { expect, test } from "bun:test";
import { churn } from "../support/churn.ts";
import { startGateway } from "../support/gateway-process.ts";
import { startModelServer } from "../support/model-server.ts";

const SECONDS = Number(Bun.env["AGENTBUS_TEST_SOAK_SECS"] ?? 120);
const SEED = Number(Bun.env["AGENTBUS_TEST_SEED"] ?? Math.floor(Math.random() * 1_000_000_000));
/** Of the later half over the one before it: what leaks a hundredth of what passes through it shows more. */
const GROWTH = 1.25;
/** Connections to the model that wait for another request, against thousands of visits. */
const KEPT_ALIVE = 5;

test(
  `visitors of every kind for ${SECONDS} s: no descriptor stays open, and memory does not go on growing`,
  async () => {
    await using model = await startModelServer({ tokens: 20, pace_ms: 5, keep: false });
    await using gateway = await startGateway({
      config: {
        llm: {
          default_provider: "test",
          default_model: "test/model",
          providers: { test: { base_url: model.url() } },
        },
        storage: { event_grace_secs: 10 },
      },
    });
    const options = { ms: SECONDS * 1_000, workers: 12, round_ms: 8_000, seed: SEED };
    const { samples, visits, slope_mib_hour } = await churn(gateway, options);
    const told = samples.map(
      ({ at, resident_mib, descriptors }) => `${at} s ${Math.round(resident_mib)} MiB ${descriptors}`,
    );
    console.log(
      `${visits} visits from seed ${SEED}, ${Math.round(slope_mib_hour)} MiB an hour: ${told.join(", ")}`,
    );

    const warm = samples.slice(Math.floor(samples.length / 3));
    const [before, after] = [warm.slice(0, warm.length / 2), warm.slice(warm.length / 2)];
    // What is kept alive for a while comes and goes; what leaks is there every time.
    const descriptors = (of: typeof warm): number => Math.min(...of.map((each) => each.descriptors));
    expect(descriptors(after)).toBeLessThanOrEqual(descriptors(before) + KEPT_ALIVE);
    const resident = (of: typeof warm): number => Math.max(...of.map((each) => each.resident_mib));
    expect(resident(after)).toBeLessThan(resident(before) * GROWTH);
    expect(visits).toBeGreaterThan(SECONDS);
  },
  { timeout: SECONDS * 1_000 + 60_000 },
);
