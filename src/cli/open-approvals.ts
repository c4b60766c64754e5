import type { Change, Resolution } from "../client/change.ts";
import type { Transcript } from "../client/fold.ts";
import type { Approval } from "../protocol/entities.ts";

/** Told how the wait ended; null: while the connection was lost, and nobody says how. */
export type Over = (resolution: Resolution | null) => void;
/** Told once of each call that waits. */
export type Asked = (approval: Approval) => Over;

/** Tells of the calls of a session that wait for an answer, whatever way they came: an event, or a snapshot. */
export class OpenApprovals {
  readonly #transcript: Transcript;
  readonly #told = new Map<string, Over>();
  #asked: Asked | null = null;

  constructor(transcript: Transcript) {
    this.#transcript = transcript;
  }

  listen(asked: Asked): void {
    this.#asked = asked;
    this.advance(null);
  }

  /** What has changed is in the transcript already. */
  advance(change: Change | null): void {
    const { approvals } = this.#transcript;
    for (const [approval_id, over] of this.#told) {
      if (approvals.has(approval_id)) continue;
      this.#told.delete(approval_id);
      over(change?.kind === "resolved" && change.approval_id === approval_id ? change : null);
    }
    if (this.#asked === null) return;
    for (const approval of approvals.values()) {
      if (!this.#told.has(approval.approval_id)) this.#told.set(approval.approval_id, this.#asked(approval));
    }
  }
}
