import type { SQL } from "bun";
import type { Dial } from "./dial.ts";
import { dial } from "./dial.ts";
import { isConflict, isLost } from "./failures.ts";
import type { Queries } from "./queries.ts";
import { queriesOf, together } from "./queries.ts";
import type { Patience } from "./silence.ts";
import { patiently } from "./silence.ts";

/** How often what changes nothing, or the same again, is tried where its connection is lost or others were in its way. */
const TRIES = 3;

export interface PoolOptions extends Patience {
  readonly dial: Dial;
  /** Connections, at the most. */
  readonly max: number;
}

/** Connections for what may be done twice: reads, and what makes room. */
export class Pool {
  readonly #options: PoolOptions;
  #sql: SQL;

  constructor(options: PoolOptions) {
    this.#options = options;
    this.#sql = dial(options.dial, options.max);
  }

  /** One statement. */
  read<T>(read: (q: Queries) => Promise<T>): Promise<T> {
    return this.#again((sql) => read(queriesOf(sql, sql)));
  }

  /** Several statements that see the same. */
  readWhole<T>(read: (q: Queries) => Promise<T>): Promise<T> {
    return this.#again((sql) => within(sql, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", read));
  }

  /** A change that may be made again where nobody knows whether it was made. */
  change<T>(task: (q: Queries) => Promise<T>): Promise<T> {
    return this.#again((sql) => within(sql, "BEGIN", task));
  }

  close(): Promise<void> {
    return this.#sql.close({ timeout: 1 });
  }

  async #again<T>(task: (sql: SQL) => Promise<T>): Promise<T> {
    for (let tries = 1; ; tries++) {
      const sql = this.#sql;
      try {
        return await patiently(this.#options, task(sql), () => this.#replace(sql));
      } catch (error) {
        if (tries === TRIES || !(isLost(error) || isConflict(error))) throw error;
      }
    }
  }

  /** What waits for a server that says nothing fails, and others begin on connections of their own. */
  #replace(silent: SQL): void {
    if (this.#sql === silent) this.#sql = dial(this.#options.dial, this.#options.max);
    silent.close({ timeout: 0 }).catch(() => undefined);
  }
}

async function within<T>(sql: SQL, begin: string, task: (q: Queries) => Promise<T>): Promise<T> {
  const connection = await sql.reserve();
  try {
    const q = queriesOf(connection, sql);
    try {
      const result = await together([q.run(begin)], task(q));
      await q.run("COMMIT");
      return result;
    } catch (error) {
      if (!isLost(error)) await q.run("ROLLBACK");
      throw error;
    }
  } finally {
    await connection.release();
  }
}
