import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { eventually, refusal, say } from "../gateway/stack.ts";
import { script } from "../support/model-script.ts";
import { hasPostgres, testCluster } from "../support/postgres.ts";
import { talk } from "./commands.ts";
import { startNodes, TAKEOVER_MS } from "./nodes.ts";
import { readTruth, settled } from "./truth.ts";

setDefaultTimeout(180_000);

const END = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'agentbus %'`;

describe.skipIf(!hasPostgres)("the database is away in the moment in which a session is loaded", () => {
  test("at a node that does not know it yet: it is turned away, and served once the database is back", async () => {
    await using nodes = await startNodes();
    const [a, b] = [nodes.node(0), nodes.node(1)];
    const ids = ["one", "two", "three", "four"];
    for (const session_id of ids) await say(a.owner, { session_id, message: "first" });
    await using socket = await b.owner.connect({});
    const server = await testCluster();
    await server.stop("immediate");
    const refused = await Promise.all([
      refusal(socket.request("session.subscribe", { session_id: "one" })),
      refusal(b.owner.call("chat.send", { session_id: "two", message: "lost" })),
      refusal(b.owner.call("chat.history", { session_id: "three" })),
      refusal(b.owner.call("session.update", { session_id: "four", title: "lost" })),
    ]);
    expect(refused.map(({ code }) => code)).toEqual(ids.map(() => "UNAVAILABLE"));
    await server.start();
    for (const session_id of ids) {
      expect(await talk(b.owner, session_id, "second")).toBe("completed");
      const { epoch } = await b.owner.call("session.get", { session_id });
      expect(await socket.request("session.subscribe", { session_id, epoch, after: 0 })).toMatchObject({
        mode: "resume",
      });
      expect(await talk(a.owner, session_id, "third")).toBe("completed");
    }
    await settled(nodes.sql);
    for (const session_id of ids) {
      const { head } = await readTruth(nodes.sql, session_id);
      await socket.next(({ json }) => json.session_id === session_id && json.seq === head, 15_000);
    }
  });

  test("at the node that takes it over: what was left in it is ended all the same, and it goes on", async () => {
    await using nodes = await startNodes();
    const [a, b] = [nodes.node(0), nodes.node(1)];
    nodes.model.otherwise(() => script().text("so far").hang());
    const ids = Array.from({ length: 40 }, (_, n) => `talk-${n}`);
    const runs = await Promise.all(
      ids.map(
        async (session_id) => (await a.owner.call("chat.send", { session_id, message: "first" })).run_id,
      ),
    );
    await nodes.model.waitForRequests(ids.length);
    await a.kill();
    // As soon as the first is taken, connections end again and again until all of them are.
    const taken = async (): Promise<number> => {
      const [row] = await nodes.sql`SELECT count(*)::int AS taken FROM agentbus.sessions WHERE fence > 1`;
      return row.taken;
    };
    await eventually(taken, (count) => count > 0, TAKEOVER_MS);
    for (let n = 0; n < 12; n++) {
      await nodes.sql.unsafe(END);
      await Bun.sleep(25);
    }
    for (const run_id of runs)
      expect(
        await eventually(
          () => b.owner.call("run.get", { run_id }).catch(() => null),
          (run) => run?.status === "interrupted",
          30_000,
        ),
      ).toBeDefined();
    await settled(nodes.sql);
    nodes.model.otherwise(() => script().text("yes"));
    expect(await talk(b.owner, "talk-0", "second")).toBe("completed");
  });
});
