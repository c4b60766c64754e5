import type {
  AppendItem,
  AuditEntry,
  CopyItem,
  ItemResult,
  NewEvent,
  RowChange,
  StoreItem,
} from "../../src/core/operation.ts";
import type { Clock } from "../../src/core/ports.ts";
import type { Store } from "../../src/core/store.ts";
import type { Limits } from "../../src/core/limits.ts";

export const EPOCH = "epoch001";
/** Where the tests' clock begins. */
export const START = 1_763_776_800_000;

export interface StoreClock extends Clock {
  set(now: number): void;
}

/** A clock whose time is set by the test; its timers are real ones and never keep the process alive. */
export function storeClock(): StoreClock {
  let time = START;
  const cancelable = (timer: NodeJS.Timeout, clear: (timer: NodeJS.Timeout) => void) => {
    timer.unref();
    return () => clear(timer);
  };
  return {
    now: () => time,
    set: (now) => {
      time = now;
    },
    monotonic: () => performance.now(),
    after: (ms, task) => cancelable(setTimeout(task, ms), clearTimeout),
    every: (ms, task) => cancelable(setInterval(task, ms), clearInterval),
  };
}

/** An opened store and what it was made with. */
export interface StoreFixture extends AsyncDisposable {
  readonly store: Store;
  readonly clock: StoreClock;
  readonly limits: Limits;
}
export type MakeStore = (limits?: Partial<Limits>) => Promise<StoreFixture>;

export function event(
  type: string,
  payload: Record<string, unknown> = {},
  more: Partial<NewEvent> = {},
): NewEvent {
  return { type, ts: START, run_id: null, payload: JSON.stringify(payload), ...more };
}

export function append(
  session: string | null,
  events: readonly NewEvent[],
  rows: readonly RowChange[] = [],
): AppendItem {
  return { kind: "append", session, run: null, ack: true, events, rows };
}

export function createRow(more: Partial<Extract<RowChange, { kind: "session.create" }>> = {}): RowChange {
  return {
    kind: "session.create",
    owner: "ada",
    name: null,
    epoch: EPOCH,
    title: "",
    model: null,
    system_prompt: null,
    metadata: "{}",
    created_at: START,
    revive: false,
    ...more,
  };
}

export function create(
  id: string,
  more: Parameters<typeof createRow>[0] = {},
  rows: readonly RowChange[] = [],
): AppendItem {
  return append(
    id,
    [event("session.created", {}, { ts: more.created_at ?? START })],
    [createRow(more), ...rows],
  );
}

export function close(session: string, at = START): AppendItem {
  return append(session, [event("session.closed", {}, { ts: at })], [{ kind: "session.close", at }]);
}

/** A whole message in one operation. */
export function say(
  session: string,
  message_id: string,
  more: { content?: string; run_id?: string; ts?: number } = {},
): AppendItem {
  const message = {
    message_id,
    role: "user",
    content: more.content ?? message_id,
    ...(more.run_id && { run_id: more.run_id }),
  };
  const made = event("message.created", { message }, more.ts === undefined ? {} : { ts: more.ts });
  return append(
    session,
    [made],
    [put(message_id, { data: JSON.stringify(message), run_id: more.run_id ?? null })],
  );
}

export function put(
  message_id: string,
  more: Partial<Extract<RowChange, { kind: "message.put" }>> = {},
): RowChange {
  return {
    kind: "message.put",
    event: 0,
    message_id,
    role: "user",
    status: "complete",
    run_id: null,
    data: JSON.stringify({ message_id }),
    ...more,
  };
}

export function run(run_id: string, more: Partial<Extract<RowChange, { kind: "run.put" }>> = {}): RowChange {
  const status = more.status ?? "queued";
  return {
    kind: "run.put",
    run_id,
    status,
    created_at: START,
    data: JSON.stringify({ run_id, status }),
    ...more,
  };
}

/** The first operation of a run: queued and at once running. */
export function startRun(
  session: string,
  run_id: string,
  more: { ts?: number; created_at?: number } = {},
): AppendItem {
  const at = { ts: more.ts ?? START, run_id };
  const rows = [
    run(run_id, { event: 0, created_at: more.created_at ?? START }),
    run(run_id, { status: "running" }),
  ];
  return {
    ...append(session, [event("run.queued", {}, at), event("run.started", {}, at)], rows),
    run: run_id,
  };
}

export function endRun(session: string, run_id: string): AppendItem {
  const rows = [run(run_id, { status: "completed" })];
  return { ...append(session, [event("run.completed", {}, { run_id })], rows), run: run_id };
}

export function key(
  name: string,
  more: Partial<Extract<RowChange, { kind: "idempotency" }>> = {},
): RowChange {
  return {
    kind: "idempotency",
    user: "ada",
    key: name,
    fingerprint: `print of ${name}`,
    answer: `{"answer":"${name}"}`,
    created_at: START,
    ...more,
  };
}

export function auditRow(more: Partial<AuditEntry> = {}): Extract<RowChange, { kind: "audit" }> {
  const entry = {
    ts: START,
    action: "token.create",
    outcome: "ok",
    user: "ada",
    method: "token",
    credential: "tok_1",
    transport: "ws",
    remote: "127.0.0.1",
    client_id: "laptop",
    target: "tok_2",
    details: null,
    count: 1,
    ...more,
  };
  return { kind: "audit", entry };
}

export function copyOf(from: string, into: string, more: Partial<CopyItem> = {}): CopyItem {
  return {
    kind: "copy",
    from,
    message_id: null,
    into,
    owner: "ada",
    epoch: "epochcpy",
    title: "a copy",
    created_at: START + 1,
    max_rows: 100,
    remember: null,
    ...more,
  };
}

/** Commits a group that storage is expected to take; the results. */
export async function commit(store: Store, ...group: StoreItem[]): Promise<readonly ItemResult[]> {
  const answer = await store.commit(group);
  if (!answer.ok) throw new Error(`the group was refused: ${answer.refused}`);
  return answer.results;
}

/** Commits operations that are all expected to succeed. */
export async function commitAll(store: Store, ...group: StoreItem[]): Promise<readonly ItemResult[]> {
  const results = await commit(store, ...group);
  const refused = results.find((result) => !result.ok);
  if (refused !== undefined) throw new Error(`an operation was refused: ${JSON.stringify(refused)}`);
  return results;
}

export const ok = (first_seq: number, epoch = EPOCH): ItemResult => ({
  ok: true,
  first_seq,
  epoch,
});

/** The error a promise rejects with. Not `expect().rejects`: that one blocks the thread that a worker's answer comes to. */
export async function failure(promise: Promise<unknown>): Promise<Error> {
  const error = await promise.then(
    (value) => new Error(`did not reject: ${JSON.stringify(value)}`, { cause: "no rejection" }),
    (reason: unknown) => (reason instanceof Error ? reason : new Error(String(reason))),
  );
  if (error.cause === "no rejection") throw error;
  return error;
}
