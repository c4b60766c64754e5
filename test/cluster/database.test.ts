import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { eventually } from "../gateway/stack.ts";
import { script } from "../support/model-script.ts";
import { hasPostgres, testCluster } from "../support/postgres.ts";
import { startNodes } from "./nodes.ts";
import { startTraffic } from "./traffic.ts";

setDefaultTimeout(180_000);

/** Ends the connections of one node. */
const END = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
  WHERE application_name LIKE 'agentbus %' AND application_name = 'agentbus ' || $1`;

describe.skipIf(!hasPostgres)("the database of the nodes", () => {
  test("ends connections again and again, and stops at once under load: what was acknowledged is there, once", async () => {
    await using nodes = await startNodes();
    nodes.model.otherwise(() => script().tokens(20, { everyMs: 10 }));
    await using traffic = startTraffic({ nodes: nodes.all, sessions: ["one", "two"] });
    await eventually(
      () => traffic.acknowledged,
      (count) => count >= 6,
      90_000,
    );
    const boots: { boot: string }[] = await nodes.sql`SELECT boot FROM agentbus.nodes`;
    const until = performance.now() + 6_000;
    for (let n = 0; performance.now() < until; n++) {
      await nodes.sql.unsafe(END, [boots[n % boots.length]?.boot]);
      await Bun.sleep(20 + Math.random() * 150);
    }
    const before = traffic.acknowledged;
    await eventually(
      () => traffic.acknowledged,
      (count) => count >= before + 6,
      90_000,
    );

    const server = await testCluster();
    await server.stop("immediate");
    await Bun.sleep(1_500);
    await server.start();
    const then = traffic.acknowledged;
    await eventually(
      () => traffic.acknowledged,
      (count) => count >= then + 6,
      90_000,
    );
    await traffic.finish(nodes.sql);
    // Not one of them had to be started again.
    for (const { gateway } of nodes.all)
      expect(await Promise.race([gateway.exited, "it runs"])).toBe("it runs");
  });
});
