import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { eventually } from "../gateway/stack.ts";
import { hasPostgres } from "../support/postgres.ts";
import type { Nodes } from "./nodes.ts";
import { startNodes, TAKEOVER_MS } from "./nodes.ts";

setDefaultTimeout(120_000);
const SESSIONS = 160;

/** The boot that leads, and the name of its node. */
async function leading({ sql }: Nodes): Promise<{ boot: string; name: string }> {
  const [row] = (await sql.unsafe(
    `SELECT n.boot, n.name FROM agentbus.meta AS m JOIN agentbus.nodes AS n ON n.boot = m.value
     WHERE m.name = 'leader' AND n.lease_until > clock_timestamp()`,
  )) as { boot: string; name: string }[];
  if (row === undefined) throw new Error("nobody leads");
  return row;
}

async function count({ sql }: Nodes): Promise<number> {
  const [row] = (await sql.unsafe(
    "SELECT count(*)::int AS n FROM agentbus.sessions WHERE owner = 'gus' AND state = 'live'",
  )) as { n: number }[];
  return row?.n ?? 0;
}

describe.skipIf(!hasPostgres)("a user who is being deleted", () => {
  test("is gone soon after the node died that was at it, although another one leads", async () => {
    await using nodes = await startNodes({ count: 2 });
    const leader = await leading(nodes);
    const at = nodes.all.find(({ name }) => name !== leader.name);
    const other = nodes.all.find(({ name }) => name === leader.name);
    if (at === undefined || other === undefined) throw new Error("there are not two nodes");
    const { token } = await at.owner.call("token.create", { name: "t", user: "gus" });
    const gus = at.person(token);
    for (let i = 0; i < SESSIONS; i += 20) {
      const some = Array.from({ length: 20 }, (_, n) => `s${i + n}`);
      await Promise.all(some.map((session_id) => gus.call("session.create", { session_id })));
    }
    const asked = at.owner.call("user.delete", { user: "gus", sessions: "delete" }).then(
      () => "answered",
      () => "cut off",
    );
    await eventually(
      () => count(nodes),
      (left) => left < SESSIONS,
    );
    await at.kill();
    expect(await asked).toBe("cut off");
    expect(await count(nodes)).toBeGreaterThan(0);
    await eventually(
      () => other.owner.call("user.list"),
      ({ users }) => !users.some(({ user }: { user: string }) => user === "gus"),
      TAKEOVER_MS,
    );
    expect(await count(nodes)).toBe(0);
    expect(await leading(nodes)).toEqual(leader);
    // Who has the name now is somebody else.
    const again = await other.owner.call("token.create", { name: "t", user: "gus" });
    expect(await other.person(again.token).call("session.list")).toMatchObject({ sessions: [] });
  });
});
