import { memo } from "react";
import type { FoldedMessage, FoldedRun } from "../../client/change.ts";
import type { ClientSession } from "../../client/session.ts";
import { CopyButton } from "../copy-button.tsx";
import { Boundary } from "../boundary.tsx";
import { Markdown } from "../markdown/markdown.tsx";
import { longTime, shortTime } from "../time.ts";
import { Attached } from "./attached.tsx";
import { ForkButton } from "./fork-button.tsx";
import type { Row } from "./rows.ts";
import { ToolCall } from "./tool-call.tsx";

interface MessageRowProps {
  readonly row: Row;
  readonly session: ClientSession;
  /** It was chosen just now. */
  readonly marked: boolean;
}

const WHO = { user: "You", assistant: "Answer", system: "Summary", tool: "Tool" } as const;

export const MessageRow = memo(function MessageRow({ row, session, marked }: MessageRowProps) {
  const { message, ending } = row;
  const { role, status } = message;
  return (
    <article className={`message ${role} ${status}${marked ? " marked" : ""}`} aria-label={WHO[role]}>
      <Boundary instead={<p className="as-written">{message.content}</p>}>
        {role === "user" ? <Said message={message} /> : <Answer row={row} session={session} />}
      </Boundary>
      {ending !== null && <Ending run={ending} />}
      {status !== "streaming" && message.content !== "" && <Tools message={message} session={session} />}
    </article>
  );
});

function Said({ message }: { readonly message: FoldedMessage }) {
  return (
    <>
      <Attached message={message} />
      {message.content !== "" && <div className="bubble">{message.content}</div>}
    </>
  );
}

function Answer({ row, session }: Omit<MessageRowProps, "marked">) {
  const { message } = row;
  const { parts, role, status } = message;
  if (role === "system") {
    return (
      <details className="summary">
        <summary>Summary of what was said before</summary>
        <Markdown text={message.content} complete={status !== "streaming"} />
      </details>
    );
  }
  const streams = status === "streaming";
  if (streams && parts.length === 0) return <p className="thinking">Thinking…</p>;
  return parts.map((part, at) => {
    const complete = !streams || at < parts.length - 1;
    if (part.type === "text") return <Markdown key={at} text={part.text} complete={complete} />;
    if (part.type === "reasoning") return <Reasoning key={at} text={part.text} complete={complete} />;
    if (part.type !== "tool_call") return null;
    return (
      <ToolCall
        key={at}
        call={part}
        result={row.results.get(part.tool_call_id)}
        approval={row.approvals.find(({ tool_call_id }) => tool_call_id === part.tool_call_id)}
        at_work={row.at_work || streams}
        session={session}
      />
    );
  });
}

function Reasoning({ text, complete }: { readonly text: string; readonly complete: boolean }) {
  return (
    <details className="reasoning">
      <summary>{complete ? "Thoughts" : "Thinking…"}</summary>
      <Markdown text={text} complete={complete} />
    </details>
  );
}

function Tools({ message, session }: { readonly message: FoldedMessage; readonly session: ClientSession }) {
  const { timestamp, model, content, message_id, role } = message;
  return (
    <div className="message-tools">
      <CopyButton text={content} label="Copy message" />
      <ForkButton session={session} message_id={message_id} />
      <time dateTime={new Date(timestamp).toISOString()} title={longTime(timestamp)}>
        {shortTime(timestamp)}
      </time>
      {role === "assistant" && model !== undefined && <span>{model}</span>}
    </div>
  );
}

function Ending({ run }: { readonly run: FoldedRun }) {
  return <p className={run.status === "failed" ? "ending problem" : "ending"}>{endingOf(run)}</p>;
}

export function endingOf({ status, error, finish_reason }: FoldedRun): string {
  if (status === "failed") return `Failed: ${error?.message ?? "the model did not answer"}`;
  if (status === "aborted") return "Stopped.";
  if (status === "interrupted") return "Broken off when the gateway stopped.";
  return finish_reason === "length"
    ? "Cut off: the answer became too long."
    : "Held back by the model's filter.";
}
