import type { ReservedSQL, SQL } from "bun";
import type { Dial } from "./dial.ts";
import { dial } from "./dial.ts";
import { isLost } from "./failures.ts";
import type { Identity } from "./identity.ts";
import { assertSame } from "./identity.ts";
import type { Queries } from "./queries.ts";
import { queriesOf, together } from "./queries.ts";
import type { Patience } from "./silence.ts";
import { patiently } from "./silence.ts";

export interface WritingOptions extends Patience {
  readonly dial: Dial;
  readonly boot: string;
  /** What the store was opened on. */
  readonly identity: Identity;
}

interface Line {
  readonly sql: SQL;
  readonly connection: ReservedSQL;
  readonly q: Queries;
  readonly pid: number;
}

/** Between two looks at what became of a commit. */
const LOOK_AGAIN_MS = 200;

/** The outcome of a commit could not be found out. */
export class Unsettled extends Error {}

/**
 * The one connection that writes groups, one transaction after the other. Each writes its number beside the name of this
 * node, so that of a connection lost in COMMIT the number that is there tells what became of it.
 */
export class Writing {
  readonly #options: WritingOptions;
  #line: Line | null = null;
  /** Settles with the transaction that was begun last, and never rejects. */
  #last: Promise<unknown> = Promise.resolve();
  #group_no = 0;
  #closed = false;

  constructor(options: WritingOptions) {
    this.#options = options;
  }

  /** After those that were begun before. Throws where nothing is changed, and Unsettled where that is not known. */
  transaction<T>(task: (q: Queries) => Promise<T>): Promise<T> {
    const done = this.#last.then(() => this.#transaction(task));
    this.#last = done.catch(() => undefined);
    return done;
  }

  async #transaction<T>(task: (q: Queries) => Promise<T>): Promise<T> {
    const line = (this.#line ??= await this.#connect());
    const group_no = ++this.#group_no;
    let result: T;
    try {
      result = await this.#watched(
        line,
        together([line.q.run("BEGIN"), this.#number(line, group_no)], task(line.q)),
      );
    } catch (error) {
      await this.#takeBack(line, error);
      throw error;
    }
    try {
      await this.#watched(line, line.q.run("COMMIT"));
    } catch (error) {
      if (!isLost(error)) throw error;
      this.#drop(line);
      if (!(await this.#isCommitted(line, group_no))) throw error;
    }
    return result;
  }

  async close(): Promise<void> {
    this.#closed = true;
    const line = this.#line;
    this.#line = null;
    if (line === null) return;
    await line.connection.release();
    await line.sql.close({ timeout: 1 });
  }

  async #number({ q }: Line, group_no: number): Promise<void> {
    const { boot } = this.#options;
    const counted = await q.run("UPDATE node_groups SET group_no = $1::bigint WHERE boot = $2::text", [
      group_no,
      boot,
    ]);
    if (counted !== 1)
      throw new Error("this node was taken out of the database: another one cleaned up behind it");
  }

  async #takeBack(line: Line, error: unknown): Promise<void> {
    if (isLost(error)) return this.#drop(line);
    try {
      // The statements that were given already are answered first, each with an error.
      await this.#watched(line, line.q.run("ROLLBACK"));
    } catch {
      // A transaction goes with its connection.
      this.#drop(line);
    }
    return undefined;
  }

  async #connect(): Promise<Line> {
    const sql = dial(this.#options.dial, 1);
    const connect = async (): Promise<Line> => {
      const connection = await sql.reserve();
      const q = queriesOf(connection, sql);
      return { sql, connection, q, pid: await assertSame(q, this.#options.identity) };
    };
    try {
      return await patiently(this.#options, connect(), () => letGo(sql));
    } catch (error) {
      letGo(sql);
      throw error;
    }
  }

  #watched<T>(line: Line, task: Promise<T>): Promise<T> {
    return patiently(this.#options, task, () => letGo(line.sql));
  }

  #drop(line: Line): void {
    if (this.#line === line) this.#line = null;
    letGo(line.sql);
  }

  /**
   * Whether the group with this number was committed. The number's row is locked until its transaction has ended, whatever
   * became of it, so that what is read is the last word; its backend is ended where it still waits for us.
   */
  async #isCommitted(line: Line, group_no: number): Promise<boolean> {
    const { clock, silence_ms } = this.#options;
    const since = clock.monotonic();
    for (let last: unknown = null; ;) {
      try {
        const next = await this.#connect();
        const found = await this.#watched(next, this.#numberOf(next, line.pid));
        this.#line = next;
        return found === group_no;
      } catch (error) {
        last = error;
      }
      if (this.#closed || clock.monotonic() - since > silence_ms)
        throw new Unsettled("what became of the last group cannot be found out", { cause: last });
      await new Promise<void>((resolve) => clock.after(LOOK_AGAIN_MS, resolve));
    }
  }

  /** Once the process of the lost connection has ended its transaction. */
  async #numberOf({ q }: Line, pid: number): Promise<number | undefined> {
    const { dial: to, boot } = this.#options;
    await q.run(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = $1::int AND application_name = $2::text",
      [pid, to.application_name],
    );
    const row = await q.one<{ group_no: number }>(
      "SELECT group_no::float8 AS group_no FROM node_groups WHERE boot = $1::text FOR UPDATE",
      [boot],
    );
    return row?.group_no;
  }
}

/** At once: what waits for an answer fails. */
function letGo(sql: SQL): void {
  sql.close({ timeout: 0 }).catch(() => undefined);
}
