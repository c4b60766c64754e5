import { churn, mean } from "../test/support/churn.ts";
import { startModelServer } from "../test/support/model-server.ts";
import type { Bench, Figure } from "./support/bench.ts";
import { round } from "./support/numbers.ts";

const WORKERS = 12;
const ROUND_MS = 12_000;
/** Least squares over an hour; over less, what happens once weighs more than what goes on. */
const AIM_MIB_HOUR = 10;
/** Connections to the model that wait for another request come and go; one lost in ten thousand visits would be ten more. */
const KEPT_ALIVE = 2;

/** Visitors of every kind come and go; what the gateway keeps of them while nobody is there. */
export async function soak(bench: Bench): Promise<Figure[]> {
  const minutes = bench.minutes ?? bench.pick(2, 0.5);
  await using model = await startModelServer({ tokens: 20, pace_ms: 5, keep: false });
  await using gateway = await bench.gateway({
    model: model.url(),
    // What visitors leave behind is all one user's.
    env: { AGENTBUS_STORAGE_EVENT_GRACE_SECS: "30", AGENTBUS_LIMITS_SESSIONS_PER_USER: "1000000" },
  });
  const { url, token, pid } = gateway;
  const { samples, visits, slope_mib_hour, error_mib_hour } = await churn(
    { url, token, pid },
    {
      ms: minutes * 60_000,
      seed: 1,
      workers: WORKERS,
      round_ms: ROUND_MS,
      onRound: ({ at, resident_mib, descriptors }) =>
        bench.say(`${at} s: ${round(resident_mib)} MiB, ${descriptors} descriptors`),
    },
  );
  const warm = samples.slice(Math.floor(samples.length / 3));
  const half = Math.ceil(warm.length / 2);
  const [before, after] = [warm.slice(0, half), warm.slice(half)];
  const resident = (of: typeof warm): number => mean(of.map(({ resident_mib }) => resident_mib));
  const open = (of: typeof warm): number => mean(of.map(({ descriptors }) => descriptors));
  return [
    {
      what: `resident memory while ${visits.toLocaleString("en-US")} visitors come and go in ${round(minutes)} minutes`,
      figure: `${round(slope_mib_hour)} MiB an hour, ± ${round(error_mib_hour)}; ${round(resident(before))} MiB on average in the middle third, ${round(resident(after))} in the last`,
      ...(minutes >= 60 && { aim: "≈ 0", held: Math.abs(slope_mib_hour) <= AIM_MIB_HOUR }),
      data: { samples },
    },
    {
      what: "descriptors that are open while nobody is there",
      figure: `${round(open(before))} on average in the middle third, ${round(open(after))} in the last`,
      held: open(after) < open(before) + KEPT_ALIVE,
      aim: "no more",
    },
  ];
}
