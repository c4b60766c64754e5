import { expect, test } from "bun:test";
import { newest } from "../../src/core/snapshot.ts";
import type { Message, Run, Snapshot } from "../../src/protocol/entities.ts";

function message(seq: number, more: Partial<Message> = {}): Message {
  const message_id = `msg_${seq}`;
  const base = { session_id: "s", role: "user", status: "complete", content: "", timestamp: 0, metadata: {} };
  return { ...base, message_id, seq, ...more } as Message;
}

function run(run_id: string, ended_at?: number): Run {
  return { run_id, ...(ended_at !== undefined && { ended_at }) } as Run;
}

function snapshot(messages: Message[], runs: Run[], has_more: boolean): Snapshot {
  return { session: {} as Snapshot["session"], messages, runs, approvals: [], has_more };
}

test("messages that came while the rows were read push the oldest out, and their runs", () => {
  const open = message(5, { status: "streaming", run_id: "now" });
  const rows = [message(1, { run_id: "old" }), message(2), message(3), message(4, { run_id: "late" }), open];
  const { messages, runs, has_more } = newest(
    snapshot(rows, [run("old", 1), run("late", 2), run("now"), run("queued")], false),
    3,
  );
  expect(messages.map(({ seq }) => seq)).toEqual([2, 3, 4, 5]);
  expect(runs.map(({ run_id }) => run_id)).toEqual(["late", "now", "queued"]);
  expect(has_more).toBe(true);
});

test("as many as may be sent are all sent", () => {
  const all = snapshot([message(1), message(2), message(3, { status: "streaming" })], [], false);
  expect(newest(all, 2)).toEqual(all);
});
