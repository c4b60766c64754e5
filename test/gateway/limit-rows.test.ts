import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { LimitRow, Reached, Said } from "./limit-rows.ts";
import { GROUPS } from "./limit-groups.ts";
import type { Stack } from "./stack.ts";
import { eventually, startStack } from "./stack.ts";

/** How often each limit was reached so far. */
async function counts({ owner }: Stack): Promise<Record<string, number>> {
  return (await owner.call("system.stats")).limits;
}

function expected({ option, value }: LimitRow, { code, kind, ...rest }: Said): object {
  const details = { what: option, limit: value, ...(kind !== null && { kind }) };
  return { error: { code, details }, ...rest };
}

/** What is told is told whole. */
function checkAnswer(reached: Reached): void {
  const { error } = reached;
  expect(error.status).toBeGreaterThanOrEqual(4000);
  if (error.code === "RATE_LIMITED" || error.code === "UNAVAILABLE") {
    expect(error).toMatchObject({ retryable: true, retry_after_ms: expect.any(Number) });
  }
}

for (const { name, config, rows } of GROUPS) {
  describe(name, () => {
    let stack: Stack;
    beforeAll(async () => {
      stack = await startStack({ config });
      await stack.owner.call("session.create", { session_id: "sized" });
    });
    afterAll(() => stack[Symbol.asyncDispose]());

    for (const row of rows) {
      for (const [way, { says, reach }] of Object.entries(row.ways)) {
        test(`${row.option}: ${way}`, async () => {
          const before = (await counts(stack))[row.option] ?? 0;
          const reached = await reach(stack);
          expect(reached).toMatchObject(expected(row, says));
          checkAnswer(reached);
          await eventually(
            () => counts(stack),
            (now) => (now[row.option] ?? 0) > before,
          );
          await row.again(stack);
        });
      }
      test(`${row.option}: is in the log, now and then`, () => {
        const lines = stack.gateway.log.filter(
          ({ msg, limit }) => msg === "a limit was reached" && limit === row.option,
        );
        expect(lines.length).toBeGreaterThan(0);
        expect(lines.length).toBeLessThanOrEqual(Object.keys(row.ways).length);
      });
    }
  });
}
