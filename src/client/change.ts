import type { Approval, Message, Part, Run, Session } from "../protocol/entities.ts";

/** A message as a reader holds it. Never changed: what an event makes of it is another one. */
export interface FoldedMessage extends Readonly<Omit<Message, "parts">> {
  readonly parts: readonly Part[];
}

/** A run as far as it is known: of one that a snapshot left out, its id and status alone. */
export type FoldedRun = Readonly<Pick<Run, "run_id" | "status"> & Partial<Run>>;

/** What an event did. */
export type Change =
  | { readonly kind: "none" }
  /** Something before it is missing: start over from a snapshot. */
  | { readonly kind: "gap" }
  /** Text came to a part; `part` says of which kind. */
  | {
      readonly kind: "text";
      readonly message: FoldedMessage;
      readonly part: "text" | "reasoning";
      readonly text: string;
    }
  | { readonly kind: "message"; readonly message: FoldedMessage }
  /** Finished. `streamed` is what the deltas made of it, to be compared with the gateway's length and sha256. */
  | {
      readonly kind: "completed";
      readonly message: FoldedMessage;
      readonly streamed: string | null;
      readonly length: number;
      readonly sha256: string;
    }
  | { readonly kind: "discarded"; readonly message_id: string }
  | {
      readonly kind: "tool_call";
      readonly message_id: string;
      readonly name: string;
      readonly arguments: string;
    }
  /** A call waits for an answer. */
  | { readonly kind: "approval"; readonly approval: Approval }
  /** It does not wait any more. `by`: the user who decided. `at`: when, in milliseconds. */
  | ({ readonly kind: "resolved"; readonly approval_id: string } & Resolution)
  | { readonly kind: "run"; readonly run: FoldedRun }
  | { readonly kind: "session"; readonly session: Session };

/** How the wait for an answer ended. */
export interface Resolution {
  readonly decision: string;
  readonly by: string | undefined;
  readonly at: number;
}
