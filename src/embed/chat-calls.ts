import type { Runner } from "../core/runner.ts";
import { chatAbort, chatHistory, chatInject } from "../protocol/api/chat.ts";
import { runCreate, runGet } from "../protocol/api/run.ts";
import { sessionCreate } from "../protocol/api/session.ts";
import type { Run } from "../protocol/entities.ts";
import { GatewayError } from "../protocol/errors.ts";
import type { Local } from "./local.ts";
import { speakingFor, OWNER } from "./local.ts";
import type { Chat, ChatStats, NewRun, StartedRun } from "./chat.ts";

export function createChat(local: Local): Chat {
  return {
    async createSession({ userId = OWNER, sessionId, title, model, systemPrompt, metadata } = {}) {
      const asked = { session_id: sessionId, title, model, system_prompt: systemPrompt, metadata };
      const session = await local.call(sessionCreate, given(asked), speakingFor(userId));
      // The gateway's id means the same for everybody, and needs no user beside it.
      const { id } = await local.session(session.session_id, userId);
      return { sessionId: id, session };
    },
    async addMessage(sessionId, { userId, role, content, metadata, idempotencyKey }) {
      const by = speakingFor(await local.userOf(sessionId, userId));
      const asked = { session_id: sessionId, role, content };
      const more = given({ metadata, idempotency_key: idempotencyKey });
      const { message_id, epoch, seq } = await local.call(chatInject, { ...asked, ...more }, by);
      return { messageId: message_id, epoch, seq };
    },
    async getMessages(sessionId, { userId, ...which } = {}) {
      const by = speakingFor(await local.userOf(sessionId, userId));
      return (await local.call(chatHistory, { session_id: sessionId, ...given(which) }, by)).messages;
    },
    createRun: (sessionId, run = {}) => createRun(local, sessionId, run),
    async abortRun(runId) {
      local.requireRunning();
      const row = await local.engine.store.run(runId);
      const session = row === null ? null : await local.engine.store.session(row.session);
      if (session === null) throw new GatewayError("NOT_FOUND", "no such run", { details: { kind: "run" } });
      const { status } = await local.call(chatAbort, { run_id: runId }, speakingFor(session.owner));
      return { aborted: status === "aborted" };
    },
    stats: () => stats(local),
  };
}

async function createRun(
  local: Local,
  sessionId: string,
  { userId, model, idempotencyKey }: NewRun,
): Promise<StartedRun> {
  const by = speakingFor(await local.userOf(sessionId, userId));
  const more = given({ model, idempotency_key: idempotencyKey });
  const { run_id, status, session_id } = await local.call(runCreate, { session_id: sessionId, ...more }, by);
  const runner = local.engine.runs.get(run_id);
  if (runner !== undefined) {
    const done = local.unlessLost(endOf(runner, session_id));
    // Who does not wait for it need not hear that.
    done.catch(() => undefined);
    return { runId: run_id, status, done };
  }
  // An earlier call with this key started it, and it has ended.
  return { runId: run_id, status, done: Promise.resolve(await local.call(runGet, { run_id }, by)) };
}

async function endOf(runner: Runner, session_id: string): Promise<Run> {
  await runner.ended;
  return { session_id, ...runner.run };
}

async function stats(local: Local): Promise<ChatStats> {
  local.requireRunning();
  const { engine } = local;
  const { sessions: totalSessions } = await engine.store.totals();
  const { lanes } = engine.runs;
  const bySession = Map.groupBy(engine.runs.all(), ({ session }) => session.id);
  const sessions = [...bySession].map(([sessionId, runs]) => {
    const activeRuns = runs.filter((run) => run.isStarted).length;
    const userId = runs[0]?.session.owner ?? "";
    return { sessionId, userId, activeRuns, queuedRuns: runs.length - activeRuns };
  });
  return { totalSessions, activeRuns: lanes.running, queuedRuns: lanes.queued, sessions };
}

/** Without what is undefined. */
function given<T extends object>(values: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}
