import { expect } from "bun:test";
import type { Message, Run } from "../../src/protocol/entities.ts";
import type { CutProxy } from "../support/cut-proxy.ts";
import { randomCut, startCutProxy } from "../support/cut-proxy.ts";
import type { RunningGateway } from "../support/gateway-process.ts";
import type { Random } from "../support/random.ts";
import { seeded } from "../support/random.ts";
import type { Watcher } from "../support/watcher.ts";
import { startWatcher } from "../support/watcher.ts";
import type { SessionLog } from "./direct.ts";
import { call, completedIn, readLog, saidIn, sha256, tokens } from "./direct.ts";
import type { Sent } from "./sender.ts";
import { sendUntilAnswered } from "./sender.ts";

/** Bytes within which connections are cut: about what a case sends over one of them. */
const CUT_WITHIN = { up: 1_200, down: 12_000 };
const STALL_MS = 600;
const DEADLINE_MS = 45_000;

export interface CaseReport {
  readonly connections: number;
  readonly cuts: number;
  readonly openings: { readonly resume: number; readonly snapshot: number };
  readonly events: number;
  readonly sends: number;
}

/** What one seed does. */
interface Plan {
  readonly asks: { readonly count: number; readonly pace_ms: number; readonly after_ms: number }[];
  readonly watchers: number;
}

/**
 * One session behind proxies that cut: messages are sent and answers watched, and in the end everybody knows the same.
 * Rejects with what was not so.
 */
export async function playCase(gateway: RunningGateway, seed: number): Promise<CaseReport> {
  const progress: Progress = { stage: "begin", watchers: [] };
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => {
    const lines = progress.watchers.map((watcher) => watcher.describe());
    late.reject(new Error(`stuck at "${progress.stage}"\n${lines.join("\n")}`));
  }, DEADLINE_MS);
  try {
    return await Promise.race([play(gateway, seed, progress), late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

/** How far a case is, for the error of one that does not end. */
interface Progress {
  stage: string;
  readonly watchers: Watcher[];
}

async function play(gateway: RunningGateway, seed: number, progress: Progress): Promise<CaseReport> {
  const random = seeded(seed);
  const { watchers } = progress;
  const session_id = `cut-${seed}`;
  const plan = planOf(random);
  await using proxies = new Proxies(gateway);
  if (random.chance(0.7)) await call(gateway, "session.create", { session_id, title: `case ${seed}` });
  else
    await call(gateway, "chat.inject", {
      session_id: await created(gateway, session_id),
      role: "system",
      content: "be brief",
    });
  try {
    for (let i = 0; i < plan.watchers; i++)
      watchers.push(await watch(gateway, proxies, session_id, i, random));
    progress.stage = "send";
    const sending = plan.asks.map((ask, i) => send(gateway, proxies, session_id, ask, i, random));
    const sent = await Promise.all(sending);
    progress.stage = "run.wait";
    const runs = await Promise.all(sent.map(({ answer }) => runEnds(gateway, answer.run_id)));
    progress.stage = "reference";
    const log = await readLog(gateway, session_id);
    progress.stage = `watchers at ${log.head}`;
    await Promise.all(watchers.map((watcher) => watcher.reached(log.head)));
    checkLog(log, plan, sent, runs);
    for (const watcher of watchers) checkWatcher(watcher, log);
    for (const each of sent) checkSender(each, log);
    return reportOf(proxies, watchers, log, sent);
  } finally {
    await Promise.all(watchers.map((watcher) => watcher.stop().catch(() => undefined)));
  }
}

function planOf(random: Random): Plan {
  const asks = Array.from({ length: random.pick([1, 1, 1, 2, 3]) }, () => ({
    count: random.between(30, 120),
    pace_ms: random.between(1, 5),
    after_ms: random.between(0, 150),
  }));
  return { asks, watchers: random.between(1, 5) };
}

async function created(gateway: RunningGateway, session_id: string): Promise<string> {
  await call(gateway, "session.create", { session_id });
  return session_id;
}

/** A proxy per client, so that which connection is cut where depends on the seed alone. */
class Proxies implements AsyncDisposable {
  readonly all: CutProxy[] = [];
  readonly #gateway: RunningGateway;

  constructor(gateway: RunningGateway) {
    this.#gateway = gateway;
  }

  make(random: Random, most_cuts: number): CutProxy {
    const cuts = Array.from({ length: random.between(0, most_cuts) }, () => randomCut(random, CUT_WITHIN));
    const proxy = startCutProxy({ target: () => this.#gateway.address, plan: (n) => cuts[n] ?? null });
    this.all.push(proxy);
    return proxy;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const proxy of this.all) proxy.stop();
  }
}

async function watch(
  gateway: RunningGateway,
  proxies: Proxies,
  session_id: string,
  index: number,
  random: Random,
): Promise<Watcher> {
  const proxy = proxies.make(random, 6);
  const kind = random.pick(["ws", "ws", "sse", "mixed"]);
  // Drawn now: how many are drawn later depends on time.
  const transports = Array.from({ length: 16 }, () => random.pick<"ws" | "sse">(["ws", "sse"]));
  const again = random.chance(0.3) ? random.between(2, 12) : 0;
  let events = 0;
  return startWatcher({
    name: `watcher ${index} (${kind})`,
    session_id,
    token: gateway.token,
    route: () => `http://${proxy.address}`,
    headers: { host: gateway.address },
    transport: (n) => (kind === "mixed" ? (transports[n % 16] ?? "ws") : kind === "sse" ? "sse" : "ws"),
    start: kind === "ws" && random.chance(0.5) ? "start" : "nothing",
    catch_up: random.pick<"auto" | "log">(["auto", "auto", "log"]),
    stall_ms: STALL_MS,
    resubscribe: () => again > 0 && ++events % again === 0,
  });
}

async function send(
  gateway: RunningGateway,
  proxies: Proxies,
  session_id: string,
  ask: Plan["asks"][number],
  index: number,
  random: Random,
): Promise<Sent> {
  const proxy = proxies.make(random, 4);
  const kind = random.pick<"ws" | "sse">(["ws", "sse"]);
  const subscribe = random.chance(0.7);
  await Bun.sleep(ask.after_ms);
  const params = {
    session_id,
    message: `say ${ask.count} ${ask.pace_ms}`,
    idempotency_key: `${session_id}-${index}`,
    subscribe,
  };
  const headers = { host: gateway.address };
  const options = { token: gateway.token, headers, method: "chat.send" as const, params, stall_ms: STALL_MS };
  const sent = await sendUntilAnswered({
    ...options,
    route: () => `http://${proxy.address}`,
    transport: (n) => (n % 2 === 0 ? kind : "ws"),
  });
  // Once more, after the answer is known: the same answer, and nothing else.
  const again = await sendUntilAnswered({ ...options, route: () => gateway.url, transport: () => kind });
  again.leave();
  const { message_id, run_id, epoch, seq } = sent.answer;
  expect(again.answer).toMatchObject({ message_id, run_id, epoch, seq });
  return sent;
}

async function runEnds(gateway: RunningGateway, run_id: string): Promise<Run> {
  for (;;) {
    const run = await call<Run>(gateway, "run.wait", { run_id, timeout_ms: 10_000 });
    if (run.status !== "queued" && run.status !== "running") return run;
  }
}

/** The log itself: each message once, each answer whole, one end per run and nothing of the run after it. */
function checkLog(log: SessionLog, plan: Plan, sent: readonly Sent[], runs: readonly Run[]): void {
  expect(log.events.map(({ seq }) => seq)).toEqual(log.events.map((_, i) => i + 1));
  for (const [i, { answer }] of sent.entries()) {
    const text = tokens(plan.asks[i]?.count ?? 0);
    const mine = log.events.filter(({ run_id }) => run_id === answer.run_id);
    const asked = mine.filter(({ event }) => event === "message.created");
    expect(
      asked.map(({ seq, payload }) => [seq, (payload as { message: Message }).message.message_id]),
    ).toEqual([[answer.seq, answer.message_id]]);
    expect(
      mine.filter(({ event }) => /^run\.(completed|failed|aborted|interrupted)$/.test(event)).length,
    ).toBe(1);
    expect(mine.at(-1)?.event).toBe("run.completed");
    expect(runs[i]?.status).toBe("completed");
    const done = completedIn(mine);
    expect(done?.message.content).toBe(text);
    expect([done?.length, done?.sha256]).toEqual([text.length, sha256(text)]);
    expect(saidIn(mine)).toBe(text);
    const folded = log.transcript.messages.find(({ message_id }) => message_id === done?.message.message_id);
    expect(folded?.content).toBe(text);
  }
}

function checkWatcher(watcher: Watcher, log: SessionLog): void {
  const { transcript, seen, name } = watcher;
  expect({ name, cursor: watcher.cursor }).toEqual({ name, cursor: { epoch: log.epoch, seq: log.head } });
  expect({ name, messages: transcript.messages }).toEqual({ name, messages: log.transcript.messages });
  expect(transcript.session).toEqual(log.transcript.session);
  for (const run of transcript.runs) {
    expect(run).toEqual(log.transcript.runs.find(({ run_id }) => run_id === run.run_id) as Run);
  }
  for (const [at, raw] of seen) expect(raw).toBe(log.raw.get(at) ?? `${at} is not in the log`);
}

function checkSender(sent: Sent, log: SessionLog): void {
  expect(sent.wrong()).toBeNull();
  for (const [at, raw] of sent.followed) expect(raw).toBe(log.raw.get(at) ?? `${at} is not in the log`);
  sent.leave();
}

function reportOf(
  proxies: Proxies,
  watchers: readonly Watcher[],
  log: SessionLog,
  sent: readonly Sent[],
): CaseReport {
  const openings = watchers.flatMap((watcher) => watcher.openings.map(({ opening }) => opening.mode));
  return {
    connections: proxies.all.reduce((sum, { connections }) => sum + connections, 0),
    cuts: proxies.all.reduce((sum, { cuts }) => sum + cuts, 0),
    openings: {
      resume: openings.filter((mode) => mode === "resume").length,
      snapshot: openings.filter((mode) => mode === "snapshot").length,
    },
    events: log.events.length,
    sends: sent.reduce((sum, { attempts }) => sum + attempts, 0),
  };
}
