import type { OpenedStore } from "../../core/store.ts";
import type { GroupWriter } from "./group-writer.ts";
import type { Pool } from "./pool.ts";
import { adopt } from "./start.ts";

export interface AdoptionOptions {
  readonly keeper: Pool;
  readonly writer: GroupWriter;
  readonly boot: string;
  /** Rows that are erased in one transaction. */
  readonly max_rows: number;
}

/** Takes all that nodes which are gone left; copies, which nobody goes on with, are erased at once. */
export async function adoptAll(options: AdoptionOptions): Promise<Pick<OpenedStore, "unended" | "deleting">> {
  const { keeper, boot } = options;
  const unended: OpenedStore["unended"][number][] = [];
  const deleting: string[] = [];
  for (;;) {
    const left = await keeper.change((q) => adopt(q, boot));
    unended.push(...left.unended);
    deleting.push(...left.deleting);
    for (const session of left.copying) await erase(options, session);
    if (left.unended.length + left.deleting.length + left.copying.length === 0) return { unended, deleting };
  }
}

async function erase({ writer, max_rows }: AdoptionOptions, session: string): Promise<void> {
  for (;;) {
    const answer = await writer.apply([{ kind: "erase", session, max_rows }]);
    if (!answer.ok) throw new Error(`storage refuses writes: ${answer.refused}`);
    const [result] = answer.results;
    if (result?.ok !== true || !("done" in result) || result.done) return;
  }
}
