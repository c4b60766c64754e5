import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { refusal } from "../gateway/stack.ts";
import { hasPostgres } from "../support/postgres.ts";
import type { ClusterNode, Nodes } from "./nodes.ts";
import { startNodes, within } from "./nodes.ts";

setDefaultTimeout(60_000);
let nodes: Nodes;
let a: ClusterNode;
let b: ClusterNode;
beforeAll(async () => {
  if (!hasPostgres) return;
  nodes = await startNodes({ count: 2 });
  [a, b] = [nodes.node(0), nodes.node(1)];
});
afterAll(async () => nodes?.[Symbol.asyncDispose]());

describe.skipIf(!hasPostgres)("whose sessions are, at every node", () => {
  test("one that is shared here is read there at once, until that is taken back", async () => {
    const { token } = await a.owner.call("token.create", { name: "t", user: "bob" });
    const bob = b.person(token);
    const { session_id: name } = await a.owner.call("session.create", { session_id: "ours" });
    const { session } = await a.owner.call("session.share", {
      session_id: name,
      user: "bob",
      role: "viewer",
    });
    const id: string = session?.session_id ?? (await idOf("ours"));
    expect(await bob.call("session.get", { session_id: id })).toMatchObject({ owner: "owner" });
    await a.owner.call("session.unshare", { session_id: name, user: "bob" });
    await within(
      () => bob.call("session.get", { session_id: id }).catch(({ code }) => code as string),
      (answer) => answer === "NOT_FOUND",
    );
  });

  test("one that is deleted here is gone there, and may be made again", async () => {
    for (let round = 0; round < 3; round++) {
      const at = round % 2 === 0 ? [a, b] : [b, a];
      const [here, there] = at as [ClusterNode, ClusterNode];
      await here.owner.call("session.create", { session_id: "short" });
      expect(await there.owner.call("session.get", { session_id: "short" })).toMatchObject({
        session_id: "short",
      });
      await here.owner.call("session.delete", { session_id: "short" });
      await within(
        () => there.owner.call("session.get", { session_id: "short" }).catch(({ code }) => code as string),
        (answer) => answer === "GONE",
      );
    }
    expect(await refusal(b.owner.call("session.get", { session_id: "short" }))).toMatchObject({
      code: "GONE",
    });
  });
});

async function idOf(name: string): Promise<string> {
  const rows = (await nodes.sql.unsafe(`SELECT id FROM agentbus.sessions WHERE name = '${name}'`)) as {
    id: string;
  }[];
  return rows[0]?.id ?? "";
}
