import type { CallAnswer, Calls, CallState, NodeCall, Place } from "../../core/cluster.ts";
import type { Limits } from "../../core/limits.ts";
import type { Pool } from "./pool.ts";
import type { Queries } from "./queries.ts";
import { texts } from "./queries.ts";
import { Quotas } from "./quotas.ts";
import type { Wake } from "./wake.ts";

export interface PostgresCallsOptions {
  readonly pool: Pool;
  readonly wake: Wake;
  readonly boot: string;
  readonly limits: Limits;
}

interface Row {
  readonly id: string;
  readonly answer: string | null;
  readonly owner_boot: string | null;
  readonly lives: boolean | null;
  readonly exists: boolean;
}

/** How long an answer is kept for whoever asked, and a call that nobody answers. */
const ANSWERED_KEPT = "2 minutes";
const OPEN_KEPT = "1 day";

const STATES = `SELECT c.id, c.answer, s.owner_boot, s.id IS NOT NULL AS exists,
    (SELECT n.lease_until > clock_timestamp() FROM nodes AS n WHERE n.boot = s.owner_boot) AS lives
  FROM calls AS c LEFT JOIN sessions AS s ON s.id = c.session WHERE c.id = ANY($1::text[]) ORDER BY c.place`;

export class PostgresCalls implements Calls {
  readonly #options: PostgresCallsOptions;

  constructor(options: PostgresCallsOptions) {
    this.#options = options;
  }

  async put(calls: readonly NodeCall[]): Promise<CallState[]> {
    const { pool, wake, boot } = this.#options;
    const rows = await pool.change(async (q) => {
      await q.run(
        `INSERT INTO calls (id, session, from_boot, body)
         SELECT u.id, u.session, $1::text, u.body
         FROM unnest($2::text[], $3::text[], $4::text[]) WITH ORDINALITY AS u (id, session, body, n) ORDER BY u.n
         ON CONFLICT (id) DO NOTHING`,
        [
          boot,
          texts(calls.map(({ id }) => id)),
          texts(calls.map(({ session }) => session)),
          texts(calls.map(({ body }) => body)),
        ],
      );
      return q.all<Row>(STATES, [texts(calls.map(({ id }) => id))]);
    });
    const owners = rows.flatMap(({ owner_boot, lives }) =>
      lives === true && owner_boot !== null ? owner_boot : [],
    );
    wake.call("asked", owners);
    return rows.map((row) => this.#state(row));
  }

  waiting(except: readonly string[], limit: number): Promise<NodeCall[]> {
    const { pool, boot } = this.#options;
    return pool.read((q) =>
      q.all<NodeCall>(
        `SELECT c.id, c.session, c.body FROM calls AS c JOIN sessions AS s ON s.id = c.session
         WHERE c.answer IS NULL AND s.owner_boot = $1::text AND c.id <> ALL($2::text[])
         ORDER BY c.place LIMIT $3::bigint`,
        [boot, texts(except), limit],
      ),
    );
  }

  async amend({ id, body }: NodeCall, next: string): Promise<boolean> {
    const changed = await this.#options.pool.change((q) =>
      q.run("UPDATE calls SET body = $3::text WHERE id = $1::text AND body = $2::text AND answer IS NULL", [
        id,
        body,
        next,
      ]),
    );
    return changed > 0;
  }

  async answer(answers: readonly CallAnswer[]): Promise<void> {
    const { pool, wake, limits } = this.#options;
    const keys = answers.flatMap(({ id, key_of }) => (key_of === null ? [] : { user: key_of, key: id }));
    const told = await pool.change(async (q) => {
      const quotas = new Quotas(q, limits);
      await quotas.drop(keys);
      await quotas.flush();
      return q.all<{ from_boot: string }>(
        `UPDATE calls AS c SET answer = u.answer, answered_at = clock_timestamp(), body = ''
         FROM unnest($1::text[], $2::text[]) AS u (id, answer) WHERE c.id = u.id AND c.answer IS NULL
         RETURNING c.from_boot`,
        [texts(answers.map(({ id }) => id)), texts(answers.map(({ answer }) => answer))],
      );
    });
    wake.call(
      "answered",
      told.map(({ from_boot }) => from_boot),
    );
  }

  async states(ids: readonly string[]): Promise<CallState[]> {
    const rows = await this.#options.pool.read((q) => q.all<Row>(STATES, [texts(ids)]));
    return rows.map((row) => this.#state(row));
  }

  onNews(listener: (what: "asked" | "answered") => void): () => void {
    return this.#options.wake.onCall(listener);
  }

  #state({ id, answer, owner_boot, lives, exists }: Row): CallState {
    return { id, answer, place: this.#place(exists, owner_boot, lives) };
  }

  #place(exists: boolean, owner: string | null, lives: boolean | null): Place {
    if (!exists) return "gone";
    if (owner === this.#options.boot) return "here";
    return lives === true ? "elsewhere" : "nobody";
  }
}

/** Erases calls nobody waits for any more; how many. */
export function expireCalls(q: Queries, max_rows: number): Promise<number> {
  return q.run(
    `DELETE FROM calls WHERE id IN (SELECT id FROM calls
       WHERE answered_at < clock_timestamp() - interval '${ANSWERED_KEPT}'
         OR (answered_at IS NULL AND made_at < clock_timestamp() - interval '${OPEN_KEPT}')
       LIMIT $1::bigint FOR UPDATE SKIP LOCKED)`,
    [max_rows],
  );
}
