import type { Check } from "./conformance-check.ts";
import { Deviation, expectThat, Skipped } from "./conformance-check.ts";
import { explain } from "./explain.ts";
import { CommandError } from "./exit.ts";
import { logChecks } from "./conformance-log.ts";
import { restChecks } from "./conformance-rest.ts";
import { socketChecks } from "./conformance-socket.ts";
import { streamChecks } from "./conformance-stream.ts";
import type { World } from "./conformance-world.ts";

export interface CheckResult {
  readonly name: string;
  readonly status: "ok" | "FAIL" | "skipped";
  readonly expected: string;
  readonly seen: string;
}

const cleanUp: Check = {
  name: "session.delete",
  expects: "every session of these checks is deleted, and is GONE for its owner afterwards",
  async run(world) {
    const names = [...world.sessions];
    for (const session_id of names) await world.peer.request("session.delete", { session_id });
    for (const session_id of names) {
      const error = await world.peer.refusal("session.get", { session_id });
      expectThat(
        error.code === "GONE" || error.code === "NOT_FOUND",
        `session.get: ${JSON.stringify(error)}`,
      );
    }
    return `${names.length} sessions were made, none is left`;
  },
};

/** In this order: later ones look at what earlier ones did, and the last one takes away what they made. */
export const CHECKS: readonly Check[] = [
  ...socketChecks,
  ...logChecks,
  ...streamChecks,
  ...restChecks,
  cleanUp,
];

/** The longest that one check may take: an answer of a slow model among it. */
const CHECK_MS = 120_000;

/** Runs all of them, one after the other. Never rejects. */
export async function runChecks(world: World, tell: (result: CheckResult) => void): Promise<CheckResult[]> {
  const results: CheckResult[] = [];
  for (const check of CHECKS) {
    const result = await runCheck(check, world);
    results.push(result);
    tell(result);
  }
  world.close();
  return results;
}

async function runCheck({ name, expects, run }: Check, world: World): Promise<CheckResult> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => late.reject(new Deviation(`not over after ${CHECK_MS / 1_000} s`)),
    CHECK_MS,
  );
  try {
    const seen = await Promise.race([run(world), late.promise]);
    return { name, status: "ok", expected: expects, seen };
  } catch (error) {
    const status = error instanceof Skipped ? "skipped" : "FAIL";
    const known = error instanceof Deviation || error instanceof Skipped || error instanceof CommandError;
    const seen = known ? error.message : explain(error);
    return { name, status, expected: expects, seen };
  } finally {
    clearTimeout(timer);
    world.next();
  }
}
