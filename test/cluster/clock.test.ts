import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { eventually } from "../gateway/stack.ts";
import { needs } from "../support/needs.ts";
import { hasPostgres } from "../support/postgres.ts";
import { startWatcher } from "../support/watcher.ts";
import { sayUntilAnswered } from "./commands.ts";
import { startNodes, TAKEOVER_MS } from "./nodes.ts";
import { expectTruth, readTruth, settled } from "./truth.ts";

setDefaultTimeout(180_000);

const hasFaketime = needs("faketime", "faketime", ["-f", "+1h", "true"]);
const LIBRARY = hasFaketime
  ? Bun.spawnSync(["faketime", "-f", "+1h", "printenv", "LD_PRELOAD"]).stdout.toString().trim()
  : "";
const HOURS_OFF = [0, 1, -1];

describe.skipIf(!hasPostgres || !hasFaketime)("nodes whose clocks are an hour off", () => {
  test("keep what they have, and take over what others leave no sooner and no later than any", async () => {
    await using nodes = await startNodes({
      count: 3,
      envOf: (at) =>
        HOURS_OFF[at] === 0
          ? {}
          : {
              LD_PRELOAD: LIBRARY,
              FAKETIME: `${HOURS_OFF[at]}h`.replace(/^1/, "+1"),
              FAKETIME_DONT_FAKE_MONOTONIC: "1",
            },
    });
    const [a, ahead, behind] = [nodes.node(0), nodes.node(1), nodes.node(2)];
    // They are off in earnest.
    for (const [at, node] of nodes.all.entries()) {
      const { headers } = await node.owner.ask("GET", "/api/v1/status");
      const off_h = (Date.parse(headers.get("date") ?? "") - Date.now()) / 3_600_000;
      expect({ at, hours: Math.round(off_h) || 0 }).toEqual({ at, hours: HOURS_OFF[at] ?? 0 });
    }
    nodes.model.reply().tokens(4_000, { everyMs: 15 });
    await sayUntilAnswered([a.owner], "talk", "first");
    await using watcher = startWatcher({
      name: "ws behind",
      session_id: "talk",
      token: behind.token,
      route: () => behind.url,
      start: "start",
    });
    const owner = async (): Promise<string> => {
      const [row] = await nodes.sql`
        SELECT n.name FROM agentbus.sessions AS s JOIN agentbus.nodes AS n ON n.boot = s.owner_boot WHERE s.name = 'talk'`;
      return row?.name ?? "nobody";
    };
    // For those who are ahead its lease would have ended long ago.
    await sayUntilAnswered([ahead.owner], "talk", "through one that is ahead");
    await sayUntilAnswered([behind.owner], "talk", "through one that is behind");
    expect(await owner()).toBe("a");
    await a.kill();
    await sayUntilAnswered([ahead.owner], "talk", "once it is gone");
    await eventually(owner, (name) => name === "b" || name === "c", TAKEOVER_MS);
    await settled(nodes.sql);
    await ahead.kill();
    await sayUntilAnswered([behind.owner], "talk", "the last one");
    expect(await owner()).toBe("c");
    await settled(nodes.sql);
    await expectTruth(await readTruth(nodes.sql, "talk"), watcher);
  });
});
