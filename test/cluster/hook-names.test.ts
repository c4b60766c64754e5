import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { refusal } from "../gateway/stack.ts";
import { hasPostgres } from "../support/postgres.ts";
import type { ClusterNode } from "./nodes.ts";
import { startNodes, within } from "./nodes.ts";

setDefaultTimeout(60_000);

describe.skipIf(!hasPostgres)("a hook", () => {
  test("is found by its name as long as one of that name is there, also where two were made at once", async () => {
    await using nodes = await startNodes();
    const [a, b] = [nodes.node(0), nodes.node(1)];
    const at = [a, b];
    const hookAt = (name: string) => ({ name, session_id: name, template: "hello" });
    const status = async (node: ClusterNode, name: string, token: string): Promise<number> => {
      const headers = { authorization: `Bearer ${token}`, "content-type": "text/plain" };
      return (await fetch(`${node.url}/api/v1/hooks/${name}`, { method: "POST", body: "x", headers })).status;
    };
    for (const gone of ["older", "younger"]) {
      const name = `twice-${gone}`;
      // Neither is in the database before both are on their way.
      const made = await nodes.sql.begin(async (sql) => {
        await sql`LOCK TABLE agentbus.records IN SHARE MODE`;
        const both = at.map(({ owner }) => owner.call("hook.create", hookAt(name)));
        await within(
          async () =>
            (
              await sql`SELECT count(*)::int AS n FROM pg_locks
            WHERE NOT granted AND relation = 'agentbus.records'::regclass`
            )[0].n,
          (n) => n >= 2,
        );
        return { both };
      });
      const hooks = (await Promise.all(made.both)).toSorted((x, y) => (x.hook_id < y.hook_id ? -1 : 1));
      const [older, younger] = hooks;
      for (const node of at) {
        await within(
          () => node.owner.call("hook.list"),
          ({ hooks: all }) => all.filter((each: { name: string }) => each.name === name).length === 2,
        );
        expect(await status(node, name, older.secret)).toBeLessThan(300);
        expect(await status(node, name, younger.secret)).toBe(401);
      }
      const [deleted, left] = gone === "older" ? [older, younger] : [younger, older];
      await b.owner.call("hook.delete", { hook_id: deleted.hook_id });
      for (const node of at) {
        await within(
          () => status(node, name, left.secret),
          (code) => code < 300,
        );
        expect(await status(node, name, deleted.secret)).toBe(401);
        expect(await refusal(node.owner.call("hook.create", hookAt(name)))).toMatchObject({
          code: "CONFLICT",
          details: { kind: "exists" },
        });
      }
      await a.owner.call("hook.delete", { hook_id: left.hook_id });
      await within(
        () => status(a, name, left.secret),
        (code) => code === 401,
      );
    }
  });
});
