import { SQL } from "bun";
import { describe, expect, test } from "bun:test";
import { hasPostgres } from "../support/postgres.ts";
import { blocksOf } from "../gateway/docs.blocks.ts";
import { append, commitAll } from "./store.builders.ts";
import { openPostgres } from "./store.postgres.ts";

describe.skipIf(!hasPostgres)("a database that was restored for a trial", () => {
  test("does nothing by itself after what the document says", async () => {
    await using fixture = await openPostgres();
    const put = (collection: string, data: object) => {
      const record = {
        collection,
        id: collection,
        owner: "ada",
        data: JSON.stringify(data),
        expires_at: null,
      };
      return append(null, [], [{ kind: "record.put", record }]);
    };
    const on = ["hook", "schedule", "webhook"];
    const stored = { name: "a", secret: "s", enabled: true };
    await commitAll(fixture.store, ...[...on, "other"].map((collection) => put(collection, stored)));
    const [statement] = blocksOf("docs/cluster.md").filter(({ text }) => text.includes("{enabled}"));
    const sql = new SQL(fixture.url, { max: 1 });
    await sql.unsafe(statement?.text ?? "");
    await sql.close({ timeout: 1 });
    const now = async (collection: string): Promise<unknown> =>
      JSON.parse((await fixture.store.records(collection))[0]?.data ?? "");
    for (const collection of on) expect(await now(collection)).toEqual({ ...stored, enabled: false });
    expect(await now("other")).toEqual(stored);
  });
});
