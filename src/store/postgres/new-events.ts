import type { NewEvent } from "../../core/operation.ts";
import { bigints, texts } from "./queries.ts";
import type { Queries } from "./queries.ts";

/** The events of the group being written, as columns: all of them are one statement. */
export class NewEvents {
  readonly #q: Queries;
  readonly #keys: number[] = [];
  readonly #seqs: number[] = [];
  readonly #times: number[] = [];
  readonly #types: string[] = [];
  readonly #run_ids: (string | null)[] = [];
  readonly #payloads: string[] = [];

  constructor(q: Queries) {
    this.#q = q;
  }

  get length(): number {
    return this.#keys.length;
  }

  add(session_key: number, seq: number, { ts, type, run_id, payload }: NewEvent): void {
    this.#keys.push(session_key);
    this.#seqs.push(seq);
    this.#times.push(ts);
    this.#types.push(type);
    this.#run_ids.push(run_id);
    this.#payloads.push(payload);
  }

  /** Takes back what was added after there were so many. Nothing was flushed in between. */
  cut(length: number): void {
    for (const column of [this.#keys, this.#seqs, this.#times, this.#types, this.#run_ids, this.#payloads])
      column.length = length;
  }

  /** Writes them. Whatever reads or erases events of the group comes after this. */
  async flush(): Promise<void> {
    if (this.length === 0) return;
    const written = this.#q.run(
      `INSERT INTO events (session_key, seq, ts, type, run_id, payload)
       SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::text[])`,
      [
        bigints(this.#keys),
        bigints(this.#seqs),
        bigints(this.#times),
        texts(this.#types),
        texts(this.#run_ids),
        texts(this.#payloads),
      ],
    );
    this.cut(0);
    await written;
  }
}
