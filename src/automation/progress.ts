import type { Journal } from "../core/journal.ts";
import type { RowChange } from "../core/operation.ts";
import type { Owed } from "../core/owed.ts";
import type { Clock } from "../core/ports.ts";

/** How far is written so seldom: what was delivered since is delivered again after a crash, under the same id. */
const WRITE_MS = 1_000;

export interface ProgressOptions {
  readonly owed: Owed;
  readonly journal: Pick<Journal, "append">;
  readonly clock: Clock;
  /** Webhooks that are owed something. */
  readonly everybody: () => readonly string[];
}

/** Writes how far webhooks got the logs of sessions. */
export class Progress {
  readonly #options: ProgressOptions;
  readonly #dirty = new Set<string>();
  #cancel: (() => void) | null = null;

  constructor(options: ProgressOptions) {
    this.#options = options;
  }

  /** It is another by now. */
  touch(session_id: string): void {
    this.#dirty.add(session_id);
    this.#cancel ??= this.#options.clock.after(WRITE_MS, () => this.write());
  }

  write(): void {
    this.#cancel?.();
    this.#cancel = null;
    const { owed, everybody } = this.#options;
    const rows: RowChange[] = [];
    for (const id of this.#dirty) {
      const row = owed.row(id, everybody());
      if (row === null) continue;
      if (row.kind === "record.drop" && row.at !== undefined) void this.#pay(row, row.at);
      else rows.push(row);
    }
    this.#dirty.clear();
    if (rows.length > 0) void this.append(rows);
  }

  append(rows: readonly RowChange[]): Promise<boolean> {
    return new Promise((resolve) => {
      const settle = ({ ok }: { readonly ok: boolean }): void => resolve(ok);
      this.#options.journal.append({ session: null, run: null, ack: false, events: [], rows, settle });
    });
  }

  /** Alone: where the log has grown meanwhile nothing else is refused for it. */
  async #pay(
    row: RowChange,
    { session, head }: { readonly session: string; readonly head: number },
  ): Promise<void> {
    const { owed } = this.#options;
    if (await this.append([row])) owed.paid(session, head);
    else owed.grown(session);
  }
}
