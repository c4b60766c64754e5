import type { Change, FoldedMessage } from "../client/change.ts";
import type { Transcript } from "../client/fold.ts";

/** A call of a tool, and what came of it as far as it is known. */
export interface ToolUse {
  readonly tool_call_id: string;
  readonly name: string;
  /** The model's JSON text. */
  readonly arguments: string;
  result?: {
    readonly message_id: string;
    readonly ok: boolean;
    readonly content: string;
    readonly truncated?: true;
  };
}

/** Where an answer is shown while it is written. */
export interface Show {
  /** More of the answer. */
  text(text: string): void;
  reasoning(text: string): void;
  /** The model calls a tool. */
  call(use: ToolUse): void;
  /** The tool answered. */
  result(use: Required<ToolUse>): void;
  /** Something else beside the answer: a connection lost, a call that waits. */
  note(line: string): void;
}

/** What was shown of one message: its text, and how many of its calls. */
interface Shown {
  readonly text: string;
  readonly calls: number;
}

const NOTHING: Shown = { text: "", calls: 0 };

/** Shows a run once, in its order, whatever way it came: in pieces, again after a reconnect, or all at once in a snapshot. */
export class Showing {
  readonly #transcript: Transcript;
  readonly #show: Show;
  readonly #shown = new Map<string, Shown>();
  /** Ids of the messages of tools that were shown. */
  readonly #results = new Set<string>();

  constructor(transcript: Transcript, show: Show) {
    this.#transcript = transcript;
    this.#show = show;
  }

  advance(run_id: string, change: Change | null): void {
    if (change?.kind === "text" && change.part === "reasoning") this.#show.reasoning(change.text);
    if (change?.kind === "discarded" && this.#shown.delete(change.message_id)) {
      this.#show.note("that answer broke off; it is written again");
    }
    for (const message of messagesOf(this.#transcript, run_id)) {
      if (message.role === "assistant") this.#bring(message, change === null);
      if (message.role === "tool") this.#bringResult(message, run_id);
    }
  }

  /** `replaced`: it comes from a snapshot, so it need not go on where it was. */
  #bring({ message_id, content, parts }: FoldedMessage, replaced: boolean): void {
    let shown = this.#shown.get(message_id) ?? NOTHING;
    if (replaced && !content.startsWith(shown.text)) {
      this.#show.note("the gateway's log was replaced; the answer as it is now:");
      shown = NOTHING;
    }
    let chars = 0;
    let calls = 0;
    for (const part of parts) {
      if (part.type === "text") {
        const fresh = part.text.slice(Math.max(0, shown.text.length - chars));
        if (fresh !== "") this.#show.text(fresh);
        chars += part.text.length;
      }
      if (part.type === "tool_call" && ++calls > shown.calls) this.#show.call(part);
    }
    this.#shown.set(message_id, { text: content, calls: Math.max(calls, shown.calls) });
  }

  #bringResult({ message_id }: FoldedMessage, run_id: string): void {
    if (this.#results.has(message_id)) return;
    this.#results.add(message_id);
    for (const { result, ...call } of toolUsesOf(this.#transcript, run_id)) {
      if (result?.message_id === message_id) this.#show.result({ ...call, result });
    }
  }
}

export function answersOf(transcript: Transcript, run_id: string): FoldedMessage[] {
  return messagesOf(transcript, run_id).filter(({ role }) => role === "assistant");
}

/** The run's calls of tools, in order. Ids are the model's, so that turns may repeat them. */
export function toolUsesOf(transcript: Transcript, run_id: string): ToolUse[] {
  const uses: ToolUse[] = [];
  for (const { message_id, parts, content } of messagesOf(transcript, run_id)) {
    for (const part of parts) {
      if (part.type === "tool_call") {
        const { tool_call_id, name, arguments: args } = part;
        uses.push({ tool_call_id, name, arguments: args });
      }
      if (part.type !== "tool_result") continue;
      const { tool_call_id, ok, truncated } = part;
      const use = uses.find((each) => each.tool_call_id === tool_call_id && each.result === undefined);
      if (use !== undefined)
        use.result = { message_id, ok, content, ...(truncated === true && { truncated }) };
    }
  }
  return uses;
}

function messagesOf(transcript: Transcript, run_id: string): FoldedMessage[] {
  return [...transcript.messages.values()].filter((each) => each.run_id === run_id);
}
