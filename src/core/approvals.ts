import type { Approval } from "../protocol/entities.ts";

export type Decision = "allow" | "deny" | "expired";

/** A call that waits for an answer. */
export interface WaitingApproval {
  readonly approval: Approval;
  /** The session's gateway id. */
  readonly session: string;
  /**
   * Takes the right to answer, so that it is answered once; false: somebody else has it, or it is over. Exactly one of
   * `decide` (the answer is committed) and `unclaim` (nothing was written) follows.
   */
  claim(): boolean;
  unclaim(): void;
  decide(decision: Decision, by: string): void;
}

/** The approvals of this process that wait for an answer, by id. */
export class Approvals {
  readonly #waiting = new Map<string, WaitingApproval>();

  add(waiting: WaitingApproval): void {
    this.#waiting.set(waiting.approval.approval_id, waiting);
  }
  remove(approval_id: string): void {
    this.#waiting.delete(approval_id);
  }
  get(approval_id: string): WaitingApproval | undefined {
    return this.#waiting.get(approval_id);
  }
}
