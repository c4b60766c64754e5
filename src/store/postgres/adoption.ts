import type { GroupWriter } from "./group-writer.ts";
import type { Pool } from "./pool.ts";
import type { Undone } from "./start.ts";
import { adopt, undone } from "./start.ts";

export interface AdoptionOptions {
  readonly keeper: Pool;
  readonly writer: GroupWriter;
  readonly boot: string;
  /** Rows that are erased in one transaction. */
  readonly max_rows: number;
}

/**
 * Takes all that nodes which are gone left; copies, which nobody goes on with, are erased at once. What is undone in sessions of
 * this node then.
 */
export async function adoptAll(options: AdoptionOptions): Promise<Undone> {
  const { keeper, boot } = options;
  const copying: string[] = [];
  for (;;) {
    const taken = await keeper.change((q) => adopt(q, boot));
    copying.push(...taken.copying);
    if (taken.count === 0) break;
  }
  for (const session of copying) await erase(options, session);
  return keeper.readWhole((q) => undone(q, boot));
}

async function erase({ writer, max_rows }: AdoptionOptions, session: string): Promise<void> {
  for (;;) {
    const answer = await writer.apply([{ kind: "erase", session, max_rows }]);
    if (!answer.ok) throw new Error(`storage refuses writes: ${answer.refused}`);
    const [result] = answer.results;
    if (result?.ok !== true || !("done" in result) || result.done) return;
  }
}
