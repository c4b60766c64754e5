import type { FoldedMessage, FoldedRun } from "../../client/change.ts";
import type { SessionSnapshot } from "../../client/state.ts";

export type Approval = SessionSnapshot["approvals"][number];

/** What is shown of a message: itself, what its calls answered, and how its run ended where that has to be said. */
export interface Row {
  readonly message: FoldedMessage;
  /** Answers to its calls, by the id of the call. */
  readonly results: ReadonlyMap<string, FoldedMessage>;
  readonly approvals: readonly Approval[];
  /** Its run ended otherwise than well, and this is the last of it. */
  readonly ending: FoldedRun | null;
  /** Its run goes on: calls without an answer are at work. */
  readonly at_work: boolean;
}

type Folded = Pick<SessionSnapshot, "messages" | "runs" | "approvals">;

interface Shown {
  readonly rows: readonly Row[];
  /** Older ones came before those that were shown: what one sees has to stay where it is. */
  readonly prepended: boolean;
}

const NO_RESULTS: ReadonlyMap<string, FoldedMessage> = new Map();
const NO_APPROVALS: readonly Approval[] = [];

/** Rows of a session, each the same object as before where nothing about it has changed. */
export class Rows {
  #known = new Map<string, Row>();
  #shown: Shown = { rows: [], prepended: false };
  #of: Folded | null = null;

  of(folded: Folded): Shown {
    const { messages, runs, approvals } = folded;
    const known = this.#of;
    if (messages !== known?.messages || runs !== known.runs || approvals !== known.approvals) {
      const before = this.#shown.rows;
      const rows = this.#make(folded);
      const first = before[0]?.message.message_id;
      const prepended =
        first !== undefined && rows.length > before.length && rows[0]?.message.message_id !== first;
      this.#shown = { rows, prepended };
      this.#of = folded;
    }
    return this.#shown;
  }

  #make({ messages, runs, approvals }: Folded): readonly Row[] {
    const results = answersOf(messages);
    const last = new Map<string, string>();
    for (const message of messages) {
      if (message.role !== "tool" && message.run_id !== undefined)
        last.set(message.run_id, message.message_id);
    }
    const states = new Map(runs.map((run) => [run.run_id, run]));
    const next = new Map<string, Row>();
    for (const message of messages) {
      if (message.role === "tool") continue;
      const run = message.run_id === undefined ? undefined : states.get(message.run_id);
      const is_last = run !== undefined && last.get(run.run_id) === message.message_id;
      const calls = message.parts.filter((part) => part.type === "tool_call");
      const row: Row = {
        message,
        results: results.get(message.message_id) ?? NO_RESULTS,
        approvals:
          calls.length === 0
            ? NO_APPROVALS
            : approvals.filter(({ message_id }) => message_id === message.message_id),
        ending: is_last && run !== undefined && endedBadly(run) ? run : null,
        at_work: calls.length > 0 && run?.status === "running",
      };
      const known = this.#known.get(message.message_id);
      next.set(message.message_id, known !== undefined && sameRow(known, row) ? known : row);
    }
    this.#known = next;
    return [...next.values()];
  }
}

/** What came of the calls of each message. Ids of calls are the model's, which may use them again: the last that asked is answered. */
function answersOf(messages: readonly FoldedMessage[]): Map<string, Map<string, FoldedMessage>> {
  const asked = new Map<string, string>();
  const answers = new Map<string, Map<string, FoldedMessage>>();
  for (const message of messages) {
    for (const part of message.parts) {
      if (part.type === "tool_call") asked.set(part.tool_call_id, message.message_id);
      const asker = part.type === "tool_result" ? asked.get(part.tool_call_id) : undefined;
      if (part.type !== "tool_result" || asker === undefined) continue;
      const known = answers.get(asker) ?? new Map<string, FoldedMessage>();
      answers.set(asker, known.set(part.tool_call_id, message));
    }
  }
  return answers;
}

function endedBadly({ status, finish_reason }: FoldedRun): boolean {
  if (status === "completed") return finish_reason === "length" || finish_reason === "content_filter";
  return status === "failed" || status === "aborted" || status === "interrupted";
}

function sameRow(one: Row, other: Row): boolean {
  return (
    one.message === other.message &&
    one.ending === other.ending &&
    one.at_work === other.at_work &&
    one.results.size === other.results.size &&
    one.approvals.length === other.approvals.length &&
    one.approvals.every((approval, at) => approval === other.approvals[at])
  );
}
