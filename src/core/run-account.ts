import type { Usage } from "../protocol/entities.ts";
import type { Ledger } from "./ledger.ts";
import type { ModelCall } from "./meter.ts";
import type { RowChange } from "./operation.ts";
import { addUsage } from "./usage.ts";

/** What one run used, and what of it is not written yet. */
export class RunAccount {
  readonly #ledger: Ledger;
  readonly #user: string;
  #owed: readonly RowChange[] = [];
  #usage: Usage | undefined;
  #unknown = 0;

  constructor(ledger: Ledger, user: string) {
    this.#ledger = ledger;
    this.#user = user;
  }

  /** Of all its calls; absent: nothing is known of any. */
  get usage(): Usage | undefined {
    return this.#usage && { ...this.#usage, ...(this.#unknown > 0 && { unknown_calls: this.#unknown }) };
  }
  /** Rows that the next operation of the run has to bring. */
  get owed(): readonly RowChange[] {
    return this.#owed;
  }

  add(calls: readonly ModelCall[]): void {
    for (const call of calls) {
      if (call.usage === undefined) this.#unknown++;
      this.#usage = addUsage(this.#usage, call.usage);
      this.#owed = [...this.#owed, this.#ledger.book(this.#user, call)];
    }
  }

  /** Writes what is owed with an operation that answers whether it is in the log. */
  async settle(write: (owed: readonly RowChange[]) => Promise<boolean>): Promise<boolean> {
    const owed = this.#owed;
    const inLog = await write(owed);
    if (inLog) this.#owed = this.#owed.slice(owed.length);
    return inLog;
  }
}
