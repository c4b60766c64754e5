import { useState } from "react";
import type { FoldedMessage } from "../../client/change.ts";
import type { ClientSession } from "../../client/session.ts";
import { told } from "../door.ts";
import { useHome } from "../home-context.ts";
import { Icon } from "../icon.tsx";
import type { Approval } from "./rows.ts";

interface Call {
  readonly tool_call_id: string;
  readonly name: string;
  readonly arguments: string;
}

interface ToolCallProps {
  readonly call: Call;
  readonly result: FoldedMessage | undefined;
  readonly approval: Approval | undefined;
  readonly at_work: boolean;
  readonly session: ClientSession;
}

/** A call of a tool: what for, what came of it, and the question where it waits for somebody. */
export function ToolCall({ call, result, approval, at_work, session }: ToolCallProps) {
  const state = stateOf(result, approval, at_work);
  return (
    <section className={`tool-call ${state}`} aria-label={`Call of ${call.name}`}>
      <details>
        <summary>
          <Icon name="tool" />
          <code>{call.name}</code>
          <span className="preview">{preview(call.arguments)}</span>
          <span className="state">{SAID[state]}</span>
        </summary>
        <h3>Arguments</h3>
        <pre tabIndex={0}>{pretty(call.arguments)}</pre>
        {result !== undefined && (
          <>
            <h3>Result</h3>
            <pre tabIndex={0}>{result.content}</pre>
          </>
        )}
      </details>
      {approval !== undefined && <Question call={call} approval={approval} session={session} />}
    </section>
  );
}

type CallState = "asks" | "works" | "done" | "failed" | "left";
const SAID: Readonly<Record<CallState, string>> = {
  asks: "asks",
  works: "at work",
  done: "done",
  failed: "failed",
  left: "not called",
};

function stateOf(
  result: FoldedMessage | undefined,
  approval: Approval | undefined,
  at_work: boolean,
): CallState {
  const part = result?.parts[0];
  if (part?.type === "tool_result") return part.ok ? "done" : "failed";
  if (approval !== undefined) return "asks";
  return at_work ? "works" : "left";
}

interface QuestionProps {
  readonly call: Call;
  readonly approval: Approval;
  readonly session: ClientSession;
}

function Question({ call, approval, session }: QuestionProps) {
  const { may } = useHome();
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState("");
  if (!may("tools.approve")) return <p className="question">Somebody who may has to allow this call.</p>;

  async function answer(decision: "allow" | "deny", remember?: "session"): Promise<void> {
    setBusy(true);
    try {
      await session.approve(approval.approval_id, decision, remember === undefined ? {} : { remember });
    } catch (error) {
      setProblem(told(error));
      setBusy(false);
    }
  }
  return (
    <div className="question">
      <p>
        May <code>{call.name}</code> be called with this?
      </p>
      <pre tabIndex={0}>{pretty(call.arguments)}</pre>
      <div className="actions">
        <button type="button" className="primary" disabled={busy} onClick={() => void answer("allow")}>
          Allow
        </button>
        <button type="button" disabled={busy} onClick={() => void answer("allow", "session")}>
          Always in this session
        </button>
        <button type="button" disabled={busy} onClick={() => void answer("deny")}>
          Deny
        </button>
      </div>
      <p className="problem" role="alert">
        {problem}
      </p>
    </div>
  );
}

const PREVIEW_CHARS = 80;

function preview(args: string): string {
  const flat = args.replaceAll(/\s+/g, " ").trim();
  return flat.length > PREVIEW_CHARS ? `${flat.slice(0, PREVIEW_CHARS)}…` : flat;
}

/** As JSON is read by people; what is no JSON as it is. */
function pretty(args: string): string {
  try {
    return JSON.stringify(JSON.parse(args), null, 2);
  } catch {
    return args;
  }
}
