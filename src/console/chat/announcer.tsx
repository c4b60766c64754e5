import { useEffect, useRef, useState } from "react";
import type { FoldedRun } from "../../client/change.ts";
import type { SessionSnapshot } from "../../client/state.ts";
import { endingOf } from "./message-row.tsx";

/** Longer answers are announced by their beginning: the rest is there to be read. */
const MOST_CHARS = 1_000;
const ENDED = new Set<FoldedRun["status"]>(["completed", "failed", "aborted", "interrupted"]);

/** Tells whoever cannot see the page that an answer is finished, and what it says; and that a tool asks. */
export function Announcer({ snapshot }: { readonly snapshot: SessionSnapshot }) {
  const [said, setSaid] = useState("");
  /** Runs that have ended and are no news any more; null: what had ended before the session was opened is not known yet. */
  const known = useRef<ReadonlySet<string> | null>(null);
  const asked = useRef<ReadonlySet<string>>(new Set());
  const { runs, messages, approvals, status } = snapshot;
  useEffect(() => {
    if (known.current === null && status !== "live") return;
    const before = known.current;
    const ended = runs.filter((run) => ENDED.has(run.status));
    const news = before === null ? undefined : ended.findLast(({ run_id }) => !before.has(run_id));
    if (news !== undefined) setSaid(announce(news, messages));
    known.current = new Set(ended.map(({ run_id }) => run_id));
  }, [runs, messages, status]);
  useEffect(() => {
    const fresh = approvals.find(({ approval_id }) => !asked.current.has(approval_id));
    if (fresh !== undefined) setSaid(`The tool ${fresh.name} asks whether it may be called.`);
    asked.current = new Set(approvals.map(({ approval_id }) => approval_id));
  }, [approvals]);
  return (
    <div className="unseen" role="status" aria-live="polite" data-said>
      {said}
    </div>
  );
}

function announce(run: FoldedRun, messages: SessionSnapshot["messages"]): string {
  if (run.status !== "completed") return endingOf(run);
  const answer = messages.findLast(({ run_id, role }) => run_id === run.run_id && role === "assistant");
  return `Answer finished. ${(answer?.content ?? "").slice(0, MOST_CHARS)}`;
}
