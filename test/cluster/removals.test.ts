import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { eventually, log, refusal } from "../gateway/stack.ts";
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

  test("loses nothing in order of what somebody else writes into a session of theirs meanwhile", async () => {
    await using nodes = await startNodes({ count: 2 });
    const [a, b] = [nodes.node(0), nodes.node(1)];
    const token = async (user: string): Promise<string> =>
      (await a.owner.call("token.create", { name: "t", user, role: "user" })).token;
    const [gus, eve] = [await token("gus"), b.person(await token("eve"))];
    // The first is written at the node that deletes, the others at that where the writer is.
    for (const [name, node] of [
      ["first", a],
      ["second", b],
      ["third", b],
    ] as const) {
      await node.person(gus).call("session.create", { session_id: name });
      await node.person(gus).call("session.share", { session_id: name, user: "eve", role: "editor" });
    }
    const { sessions: shared } = await eventually(
      () => eve.call("session.list"),
      (list) => list.sessions.length === 3,
    );
    const sessions = shared.map(({ session_id }: { session_id: string }) => session_id) as string[];
    await using socket = await eve.connect({});
    for (const session_id of sessions) await socket.request("session.subscribe", { session_id });
    const said = new Map<string, string[]>();
    const refusals = new Set<string>();
    let isOver = false;
    const write = async (session_id: string): Promise<void> => {
      const mine: string[] = [];
      said.set(session_id, mine);
      for (let n = 0; !isOver; n++) {
        const content = `${n}`;
        try {
          await socket.request("chat.inject", { session_id, role: "user", content });
          mine.push(content);
          await Bun.sleep(5);
        } catch (error) {
          refusals.add((error as { code: string }).code);
          await Bun.sleep(20);
        }
      }
    };
    const writing = Promise.all(sessions.map(write));
    await eventually(
      () => [...said.values()].every((mine) => mine.length >= 10),
      (all) => all,
    );
    await a.owner.call("user.delete", { user: "gus", sessions: "delete" });
    await eventually(
      () => count(nodes),
      (left) => left === 0,
    );
    await Bun.sleep(500);
    isOver = true;
    await writing;
    // Each was told "gone" or that there is none, and nothing that says that something broke.
    expect([...refusals].filter((code) => !["NOT_FOUND", "GONE", "UNAVAILABLE"].includes(code))).toEqual([]);
    for (const session_id of sessions) {
      const seen = log(socket, session_id);
      expect(seen.map(({ seq }) => seq)).toEqual(seen.map((_, at) => at + seen[0].seq));
      expect(seen.at(-1)).toMatchObject({ event: "session.closed" });
      const contents = seen
        .filter(({ event }) => event === "message.created")
        .map(({ payload }) => payload.message.content as string);
      const mine = said.get(session_id) ?? [];
      expect({ session_id, lost: mine.filter((content) => !contents.includes(content)) }).toEqual({
        session_id,
        lost: [],
      });
      expect(contents.map(Number)).toEqual(contents.map(Number).toSorted((x, y) => x - y));
    }
    expect(await refusal(eve.call("session.get", { session_id: sessions[0] ?? "" }))).toMatchObject({
      code: "NOT_FOUND",
    });
    // Both nodes are there, and serve.
    for (const { owner } of nodes.all)
      await eventually(
        () => owner.call("user.list"),
        ({ users }) => !users.some(({ user }: { user: string }) => user === "gus"),
      );
  });
});
