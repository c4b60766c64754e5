import type { Queries } from "./queries.ts";

/** In `meta`. Made once; it never changes. */
const NAME = "secrets_key";

/** What is there, or is from now on. */
export async function sharedSecret(q: Queries, offered: string): Promise<string> {
  await q.run("INSERT INTO meta (name, value) VALUES ($1::text, $2::text) ON CONFLICT DO NOTHING", [
    NAME,
    offered,
  ]);
  const row = await q.one<{ value: string }>("SELECT value FROM meta WHERE name = $1::text", [NAME]);
  if (row === null) throw new Error("the key of the nodes was taken out of the database");
  return row.value;
}
