import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { eventually } from "../gateway/stack.ts";
import { startCutProxy } from "../support/cut-proxy.ts";
import { script } from "../support/model-script.ts";
import { hasPostgres } from "../support/postgres.ts";
import { talk } from "./commands.ts";
import { LEASE_SECS, startNodes } from "./nodes.ts";
import { startTraffic } from "./traffic.ts";

setDefaultTimeout(180_000);

describe.skipIf(!hasPostgres)("the link of a node to the database", () => {
  test("says nothing for a moment and for longer than a lease, one way and both: what was acknowledged is there, once", async () => {
    let server = "";
    await using proxy = startCutProxy({ target: () => server });
    await using nodes = await startNodes({
      configOf: (at, database_url) => {
        const url = new URL(database_url);
        server = url.host;
        if (at === 1) url.host = proxy.address;
        return { storage: { url: url.href } };
      },
    });
    const [a, b] = [nodes.node(0), nodes.node(1)];
    nodes.model.otherwise(() => script().tokens(20, { everyMs: 10 }));
    await using traffic = startTraffic({ nodes: nodes.all, sessions: ["one", "two"] });
    const goesOn = async (): Promise<void> => {
      const before = traffic.acknowledged;
      await eventually(
        () => traffic.acknowledged,
        (count) => count >= before + 4,
        90_000,
      );
    };
    await goesOn();
    for (const sides of [["up"], ["down"], ["up", "down"]] as const) {
      proxy.hold(sides);
      await Bun.sleep(1_000);
      proxy.release();
      await goesOn();
    }
    for (const sides of [["up"], ["down"]] as const) {
      // What it had is served by the other, who does not wait for what it had locked.
      expect(await talk(b.owner, "its-own", `before ${sides.join()}`)).toBe("completed");
      proxy.hold(sides);
      await Bun.sleep(LEASE_SECS * 1_000);
      expect(await talk(a.owner, "its-own", `while ${sides.join()} is silent`)).toBe("completed");
      proxy.release();
      await goesOn();
    }
    await traffic.finish(nodes.sql);
    expect(await Promise.race([b.gateway.exited, "it runs"])).toBe("it runs");
  });
});
