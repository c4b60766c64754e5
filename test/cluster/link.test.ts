import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { ended, eventually, refusal } from "../gateway/stack.ts";
import { startCutProxy } from "../support/cut-proxy.ts";
import { script } from "../support/model-script.ts";
import { hasPostgres } from "../support/postgres.ts";
import type { Transport, Watcher } from "../support/watcher.ts";
import { startWatcher } from "../support/watcher.ts";
import { talk } from "./commands.ts";
import type { ClusterNode } from "./nodes.ts";
import { LEASE_SECS, startNodes } from "./nodes.ts";
import { startTraffic } from "./traffic.ts";
import { expectTruth, readTruth, settled, timesSaid } from "./truth.ts";

setDefaultTimeout(180_000);

/** Nodes of which the second reaches the database through the proxy. */
function linked() {
  let server = "";
  const proxy = startCutProxy({ target: () => server });
  const configOf = (at: number, database_url: string) => {
    const url = new URL(database_url);
    server = url.host;
    if (at === 1) url.host = proxy.address;
    return { storage: { url: url.href } };
  };
  return { proxy, start: () => startNodes({ configOf }) };
}

describe.skipIf(!hasPostgres)("the link of a node to the database", () => {
  test("says nothing for a moment and for longer than a lease, one way and both: what was acknowledged is there, once", async () => {
    const link = linked();
    await using proxy = link.proxy;
    await using nodes = await link.start();
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

  test("says nothing both ways for longer than a lease while a run speaks: another goes on, and the cut off follows it", async () => {
    const link = linked();
    await using proxy = link.proxy;
    await using nodes = await link.start();
    const [a, b] = [nodes.node(0), nodes.node(1)];
    const session_id = "spoken";
    expect(await talk(b.owner, session_id, "first")).toBe("completed");
    nodes.model.reply().tokens(4_000, { everyMs: 10 });
    const { run_id } = await b.owner.call("chat.send", { session_id, message: "go on" });
    await using stack = new AsyncDisposableStack();
    const watch = (node: ClusterNode, over: Transport): Watcher =>
      stack.use(
        startWatcher({
          name: `${over} at ${node.name}`,
          session_id,
          token: node.token,
          route: () => node.url,
          transport: () => over,
          start: over === "ws" ? "start" : "nothing",
          stall_ms: 120_000,
        }),
      );
    const watchers = [watch(a, "ws"), watch(b, "ws"), watch(b, "sse")];
    const isIn = ({ transcript }: Watcher): boolean =>
      transcript.messages.some((each) => each.run_id === run_id && each.content.length > 100);
    await Promise.all(watchers.map((watcher) => watcher.until(() => isIn(watcher))));
    const silent_at = performance.now();
    proxy.hold();
    expect(await ended(a.owner, run_id)).toMatchObject({ status: "interrupted", reason: "restart" });
    expect(performance.now() - silent_at).toBeLessThan((LEASE_SECS + 10) * 1_000);
    // It asks the model for nothing any more, and takes nothing.
    await nodes.model.waitForAbort();
    const lost = b.owner.call("chat.send", { session_id, message: "lost" });
    expect(await refusal(lost)).toMatchObject({ code: "UNAVAILABLE" });
    expect(await talk(a.owner, session_id, "while it is silent")).toBe("completed");
    proxy.release();
    expect(await talk(b.owner, session_id, "it is back")).toBe("completed");
    await settled(nodes.sql);
    const truth = await readTruth(nodes.sql, session_id);
    for (const watcher of watchers) await expectTruth(truth, watcher);
    expect(["lost", "while it is silent", "it is back"].map((said) => timesSaid(truth, said))).toEqual([
      0, 1, 1,
    ]);
    expect(await Promise.race([b.gateway.exited, "it runs"])).toBe("it runs");
  });
});
