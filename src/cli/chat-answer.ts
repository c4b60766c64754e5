import type { Answer, Conversation } from "./conversation.ts";
import { EXIT } from "./exit.ts";
import type { Io } from "./io.ts";
import { visible } from "./table.ts";

/** Says what is wrong with an answer; the exit code of it. */
export function judge({ run, verified }: Answer, io: Io): number {
  if (verified === false) io.err("agentbus: the answer is not what the gateway says it is (sha256 differs)");
  if (run.status !== "completed") {
    const why = run.error === undefined ? "" : `: ${visible(run.error.message)}`;
    io.err(`agentbus: the run ${run.status === "failed" ? "failed" : `was ${run.status}`}${why}`);
  }
  return run.status === "completed" && verified !== false ? EXIT.ok : EXIT.failed;
}

export function answerJson({ session_id }: Conversation, answer: Answer): Record<string, unknown> {
  const { run_id, status, error, finish_reason } = answer.run;
  const last = answer.messages.at(-1);
  const { message_id, content = "" } = last ?? {};
  const tool_calls = answer.tools.map(({ result, ...call }) => ({
    ...call,
    ...(result && { ok: result.ok, content: result.content, truncated: result.truncated }),
  }));
  const said = { session_id, run_id, status, message_id, content, tool_calls };
  return { ...said, verified: answer.verified, finish_reason, error };
}
