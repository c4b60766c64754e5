import type { SQL } from "bun";
import type { Dial } from "./dial.ts";
import { dial } from "./dial.ts";
import { isConflict, isLost } from "./failures.ts";
import type { Queries } from "./queries.ts";
import { queriesOf, together } from "./queries.ts";

/** How often what changes nothing, or the same again, is tried where its connection is lost or others were in its way. */
const TRIES = 3;

/** Connections for what may be done twice: reads, and what makes room. */
export class Pool {
  readonly #sql: SQL;

  constructor(to: Dial, max: number) {
    this.#sql = dial(to, max);
  }

  /** One statement. */
  read<T>(read: (q: Queries) => Promise<T>): Promise<T> {
    return again(() => read(queriesOf(this.#sql, this.#sql)));
  }

  /** Several statements that see the same. */
  readWhole<T>(read: (q: Queries) => Promise<T>): Promise<T> {
    return this.#within("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", read);
  }

  /** A change that may be made again where nobody knows whether it was made. */
  change<T>(task: (q: Queries) => Promise<T>): Promise<T> {
    return this.#within("BEGIN", task);
  }

  close(): Promise<void> {
    return this.#sql.close({ timeout: 1 });
  }

  #within<T>(begin: string, task: (q: Queries) => Promise<T>): Promise<T> {
    return again(async () => {
      const connection = await this.#sql.reserve();
      try {
        const q = queriesOf(connection, this.#sql);
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
    });
  }
}

async function again<T>(task: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await task();
    } catch (error) {
      if (tries === TRIES || !(isLost(error) || isConflict(error))) throw error;
    }
  }
}
