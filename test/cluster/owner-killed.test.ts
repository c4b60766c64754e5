import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { script } from "../support/model-script.ts";
import { hasPostgres } from "../support/postgres.ts";
import type { Transport, Watcher } from "../support/watcher.ts";
import { startWatcher } from "../support/watcher.ts";
import type { Said } from "./commands.ts";
import { sayOnce, sayUntilAnswered } from "./commands.ts";
import type { ClusterNode } from "./nodes.ts";
import { startNodes, TAKEOVER_MS } from "./nodes.ts";
import { expectTruth, readTruth, settled, timesSaid } from "./truth.ts";

setDefaultTimeout(180_000);

const TALKS = ["one", "two", "three"];

describe.skipIf(!hasPostgres)("the node that has a session is killed in mid-answer", () => {
  test("its clients and those of other nodes get the log, whole; what was on its way is done once", async () => {
    await using nodes = await startNodes({ count: 3 });
    const [a, b, c] = [nodes.node(0), nodes.node(1), nodes.node(2)];
    nodes.model.otherwise(() => script().tokens(20, { everyMs: 5 }));
    for (const _ of TALKS) nodes.model.reply().tokens(2_000, { everyMs: 15 });
    const begun: Record<string, string> = {};
    for (const session_id of TALKS) {
      const { run_id } = await a.owner.call("chat.send", { session_id, message: "first" });
      begun[session_id] = run_id;
    }
    await using stack = new AsyncDisposableStack();
    let isGone = false;
    const watch = (node: ClusterNode, over: Transport, session_id: string): Watcher =>
      stack.use(
        startWatcher({
          name: `${over} at ${node.name}: ${session_id}`,
          session_id,
          token: (node === a ? b : node).token,
          route: () => (node === a && isGone ? b : node).url,
          transport: () => over,
          start: over === "ws" ? "start" : "nothing",
        }),
      );
    const watchers = TALKS.flatMap((session_id) => [
      watch(b, "ws", session_id),
      watch(c, "sse", session_id),
      watch(a, "ws", session_id),
      watch(a, "sse", session_id),
    ]);
    const isIn = (watcher: Watcher): boolean =>
      watcher.synced && (watcher.transcript.messages[1]?.content.length ?? 0) > 100;
    await Promise.all(watchers.map((watcher) => watcher.until(() => isIn(watcher))));

    const said: Promise<Said>[] = [];
    const sayAll = (when: string): void => {
      for (const session_id of TALKS) {
        said.push(sayOnce(b.owner, session_id, `${when}, once, ${session_id}`));
        said.push(sayOnce(c.owner, session_id, `${when}, once at c, ${session_id}`));
        said.push(
          sayUntilAnswered([b.owner, c.person(b.token)], session_id, `${when}, keyed, ${session_id}`),
        );
      }
    };
    sayAll("long before");
    await Bun.sleep(60);
    sayAll("just before");
    await Bun.sleep(5);
    isGone = true;
    await a.kill();
    sayAll("just after");
    const isOver = (watcher: Watcher, run_id: string | undefined): boolean =>
      watcher.transcript.runs.some((run) => run.run_id === run_id && run.status === "interrupted");
    await Promise.all(
      watchers.map((watcher, at) => {
        const run_id = begun[TALKS[Math.floor(at / 4)] ?? ""];
        return watcher.until(() => isOver(watcher, run_id), TAKEOVER_MS);
      }),
    );
    const outcomes = await Promise.all(said);
    await settled(nodes.sql);
    for (const [at, session_id] of TALKS.entries()) {
      const truth = await readTruth(nodes.sql, session_id);
      for (const watcher of watchers.slice(at * 4, at * 4 + 4)) await expectTruth(truth, watcher);
      const wrong = outcomes
        .filter((each) => each.session_id === session_id)
        .map((each) => ({ ...each, times: timesSaid(truth, each.content) }))
        .filter(({ outcome, times }) => times !== (outcome === "UNAVAILABLE" ? 0 : 1));
      expect(wrong).toEqual([]);
    }
    // Whoever has them now appended nothing under the number the dead node had.
    const [{ fences }] =
      await nodes.sql`SELECT count(*)::int AS fences FROM agentbus.sessions WHERE fence < 2`;
    expect(fences).toBe(0);
  });
});
