import { expect } from "bun:test";
import type { SQL } from "bun";
import type { FoldEvent, Transcript } from "../../src/core/transcript.ts";
import { applyEvent, emptyTranscript } from "../../src/core/transcript.ts";
import { eventually } from "../gateway/stack.ts";
import type { Watcher } from "../support/watcher.ts";

/** The log of one session as the database has it, from its first event, and what it adds up to. */
export interface Truth {
  readonly epoch: string;
  readonly head: number;
  readonly fence: number;
  /** The boot that has it. */
  readonly owner: string | null;
  readonly events: readonly FoldEvent[];
  readonly transcript: Transcript;
}

const END = /^run\.(completed|failed|aborted|interrupted)$/;

/** Reads a log from the tables; proves that it is whole and that each run in it has one end, and nothing after that. */
export async function readTruth(sql: SQL, session_id: string): Promise<Truth> {
  const [session] = await sql`
    SELECT session_key, epoch, head::int AS head, fence::int AS fence, owner_boot AS owner FROM agentbus.sessions
    WHERE name = ${session_id} OR id = ${session_id}`;
  const rows = await sql`
    SELECT seq::int AS seq, ts::float8 AS ts, type, run_id, payload FROM agentbus.events
    WHERE session_key = ${session.session_key} AND seq <= ${session.head} ORDER BY seq`;
  const { epoch, head, fence, owner } = session;
  const events: FoldEvent[] = rows.map(({ type: event, payload, ...row }: Record<string, unknown>) => ({
    ...row,
    event,
    session_id,
    epoch,
    payload: JSON.parse(String(payload)),
  }));
  expect(events.map(({ seq }) => seq)).toEqual(Array.from({ length: head }, (_, at) => at + 1));
  const transcript = emptyTranscript();
  for (const event of events)
    if (applyEvent(transcript, event) !== "ok") throw new Error(`${event.seq} does not continue the text`);
  for (const { run_id } of transcript.runs) {
    const mine = events.filter((event) => event.run_id === run_id).map(({ event }) => event);
    expect({ run_id, ends: mine.filter((event) => END.test(event)), last: mine.at(-1) }).toEqual({
      run_id,
      ends: [expect.stringMatching(END)],
      last: expect.stringMatching(END),
    });
  }
  return { epoch, head, fence, owner, events, transcript };
}

/** What a client saw is what the log has, and all of it once it is there. */
export async function expectTruth(truth: Truth, watcher: Watcher, timeout_ms = 30_000): Promise<void> {
  await watcher.reached(truth.head, timeout_ms);
  for (const [at, raw] of watcher.seen) {
    const { event, epoch, seq, ts, run_id = null, payload } = JSON.parse(raw);
    const { session_id: _, ...known } = truth.events[seq - 1] ?? { session_id: "" };
    expect({ at, event, epoch, seq, ts, run_id, payload }).toEqual({ at, ...known } as never);
  }
  const { messages, runs, session } = watcher.transcript;
  const { transcript } = truth;
  expect({ who: watcher.name, messages }).toEqual({ who: watcher.name, messages: transcript.messages });
  expect(ends(runs)).toEqual(ends(transcript.runs).slice(-runs.length));
  expect(session).toEqual(transcript.session);
}

function ends(runs: Transcript["runs"]) {
  return runs.map(({ run_id, status }) => ({ run_id, status }));
}

/** Resolves when no run is left in the database and no node owes another one an answer. */
export async function settled(sql: SQL, timeout_ms = 60_000): Promise<void> {
  const left = async () => {
    const [row] = await sql`
      SELECT (SELECT count(*)::int FROM agentbus.runs WHERE status IN ('queued', 'running')) AS runs,
        (SELECT count(*)::int FROM agentbus.calls JOIN agentbus.sessions AS s ON s.id = session WHERE answer IS NULL) AS calls`;
    return row as { runs: number; calls: number };
  };
  await eventually(left, ({ runs, calls }) => runs + calls === 0, timeout_ms);
}

/** How often a user said something in a session. */
export function timesSaid({ transcript }: Truth, content: string): number {
  return transcript.messages.filter((message) => message.role === "user" && message.content === content)
    .length;
}
