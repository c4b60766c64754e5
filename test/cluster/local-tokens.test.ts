import { expect, setDefaultTimeout, test, describe } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { hasPostgres } from "../support/postgres.ts";
import { startNodes } from "./nodes.ts";

setDefaultTimeout(60_000);

describe.skipIf(!hasPostgres)("nodes on one database", () => {
  test("each keeps the token of its own data directory, over a restart of the others too", async () => {
    await using nodes = await startNodes({ count: 2 });
    const [a, b] = [nodes.node(0), nodes.node(1)];
    expect(a.token).not.toBe(b.token);
    await b.stop();
    await b.restart();
    await a.stop();
    await a.restart();
    for (const node of [a, b]) {
      expect(readFileSync(join(node.gateway.data_dir, "token"), "utf8").trim()).toBe(node.token);
      expect(await node.owner.call("system.status")).toMatchObject({ status: "healthy" });
    }
    const { tokens } = await a.owner.call("token.list");
    expect(tokens).toMatchObject([{ name: "local" }, { name: "local" }]);
    // Which of them is asked is all one.
    expect(await b.person(a.token).call("token.list")).toEqual({ tokens: expect.any(Array) });
  });
});
