import type { RecordChange } from "../../core/record.ts";
import type { Refused } from "./quotas.ts";
import type { Work } from "./work.ts";

type Change<K extends RecordChange["kind"]> = Extract<RecordChange, { kind: K }>;

const CHANGED: Refused = { ok: false, reason: "changed" };
const INSERT = `INSERT INTO records (collection, id, owner, data, expires_at)
  VALUES ($1::text, $2::text, $3::text, $4::text, $5::bigint) ON CONFLICT (collection, id)`;

export async function putRecord(
  { q, changed }: Work,
  { record, over }: Change<"record.put">,
): Promise<Refused | null> {
  const { collection, id, owner, data, expires_at } = record;
  const row = [collection, id, owner, data, expires_at];
  changed.add(collection, id);
  if (over === undefined) {
    await q.run(
      `${INSERT} DO UPDATE SET owner = excluded.owner, data = excluded.data, expires_at = excluded.expires_at`,
      row,
    );
    return null;
  }
  const written =
    over === null
      ? await q.run(`${INSERT} DO NOTHING`, row)
      : await q.run(
          `UPDATE records SET owner = $3::text, data = $4::text, expires_at = $5::bigint
           WHERE collection = $1::text AND id = $2::text AND data = $6::text`,
          [...row, over],
        );
  return written === 1 ? null : CHANGED;
}

/** One that is there is locked: who would drop it waits until this is committed. */
export async function keepRecord({ q, changed }: Work, { record }: Change<"record.keep">): Promise<null> {
  const { collection, id, owner, data, expires_at } = record;
  const made = await q.one<{ isNew: boolean }>(
    `${INSERT} DO UPDATE SET data = records.data RETURNING (xmax = 0) AS "isNew"`,
    [collection, id, owner, data, expires_at],
  );
  if (made?.isNew === true) changed.add(collection, id);
  return null;
}

export async function dropRecord(
  { q, sessions, changed }: Work,
  { collection, id, over, at }: Change<"record.drop">,
): Promise<Refused | null> {
  if (at !== undefined) {
    await q.all("SELECT 1 FROM records WHERE collection = $1::text AND id = $2::text FOR UPDATE", [
      collection,
      id,
    ]);
    // A statement of its own: it sees what was committed while the one before waited.
    const session =
      sessions.find(at.session) ??
      (await q.one<{ head: number }>("SELECT head::float8 AS head FROM sessions WHERE id = $1::text", [
        at.session,
      ]));
    if (session !== null && session.head !== at.head) return CHANGED;
  }
  changed.add(collection, id);
  const dropped = await q.run(
    `DELETE FROM records WHERE collection = $1::text AND id = $2::text AND ($3::text IS NULL OR data = $3::text)`,
    [collection, id, over ?? null],
  );
  return over === undefined || dropped === 1 ? null : CHANGED;
}
