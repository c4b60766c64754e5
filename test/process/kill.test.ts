import type { Subprocess } from "bun";
import { afterAll, beforeAll, expect, test } from "bun:test";
import { resolve } from "node:path";
import type { RunningGateway } from "../support/gateway-process.ts";
import { startGateway } from "../support/gateway-process.ts";
import { seeded } from "../support/random.ts";
import type { Watcher } from "../support/watcher.ts";
import { startWatcher } from "../support/watcher.ts";
import { call } from "./direct.ts";
import type { Asked } from "./kill-ledger.ts";
import { Ledger, MODEL_PACE_MS, MODEL_TOKENS } from "./kill-ledger.ts";
import { sendUntilAnswered } from "./sender.ts";

const KILLS = Number(Bun.env["AGENTBUS_TEST_KILLS"] ?? 30);
const SEED = Number(Bun.env["AGENTBUS_TEST_SEED"] ?? Math.floor(Math.random() * 1_000_000_000));
const SESSIONS = 10;
const STALL_MS = 3_000;
/** Generous: a loaded machine, starting from the sources. */
const STARTUP_MS = 10_000;

const random = seeded(SEED);
let model: Subprocess<"ignore", "pipe", "inherit">;
let gateway: RunningGateway;

beforeAll(async () => {
  // In a process of its own, so that its pace does not hang on what the test is doing.
  const source = resolve(import.meta.dir, "../support/model-server.ts");
  const options = ["--port", "0", "--tokens", String(MODEL_TOKENS), "--pace", String(MODEL_PACE_MS)];
  model = Bun.spawn([process.execPath, source, ...options], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "inherit",
  });
  const reader = model.stdout.getReader();
  const { value } = await reader.read();
  const { url } = JSON.parse(new TextDecoder().decode(value)) as { url: string };
  gateway = await startGateway({
    config: {
      llm: { default_provider: "test", default_model: "test/model", providers: { test: { base_url: url } } },
    },
  });
});
afterAll(async () => {
  await gateway[Symbol.asyncDispose]();
  model.kill();
});

/** Where clients go: closed while the gateway is down, and until what it wrote before has been looked at. */
let door = Promise.withResolvers<string>();
const route = (): Promise<string> => door.promise;

const requests: Promise<void>[] = [];

/** @param kill_ms when the kill is: many requests are made just before it, so that their answers are lost. */
function ask(ledger: Ledger, cycle: number, n: number, kill_ms: number): void {
  const method = n === 2 ? "chat.inject" : "chat.send";
  const key = `k${SEED}-${ledger.session_id}-${cycle}-${n}`;
  const { session_id } = ledger;
  const text = `say it ${key}`;
  const asked: Asked = {
    key,
    method,
    params: {
      session_id,
      idempotency_key: key,
      ...(method === "chat.send"
        ? { message: text, subscribe: random.chance(0.5) }
        : { role: "user", content: text }),
    },
    sent: null,
  };
  ledger.asked.push(asked);
  const via = random.pick<"ws" | "sse">(["ws", "sse"]);
  const at = n === 0 || random.chance(0.3) ? random.between(0, kill_ms) : kill_ms - random.between(0, 12);
  requests.push(Bun.sleep(at).then(() => request(asked, via)));
}

async function request(asked: Asked, via: "ws" | "sse"): Promise<void> {
  const { method, params } = asked;
  const options = { route, token: gateway.token, method, params, transport: () => via, stall_ms: STALL_MS };
  const sent = await sendUntilAnswered(options);
  const before = asked.sent;
  // The same request again: the same answer.
  if (before !== null) {
    const { message_id, seq, epoch } = before.answer;
    expect(sent.answer).toMatchObject({ message_id, seq, epoch });
    return sent.leave();
  }
  asked.sent = sent;
}

/** Everything that is not terminal, by the API's word. */
async function unended(): Promise<unknown[]> {
  const lists = ["running", "queued"].map((status) =>
    call<{ runs: unknown[] }>(gateway, "run.list", { status }),
  );
  return (await Promise.all(lists)).flatMap(({ runs }) => runs);
}

async function kill(after_ms: number): Promise<number> {
  await Bun.sleep(after_ms);
  door = Promise.withResolvers();
  gateway.kill("SIGKILL");
  if (random.chance(0.15)) {
    // Once more, while it starts: what it has begun to end is ended by the next one.
    const restarting = gateway.restart().catch(() => undefined);
    await Bun.sleep(random.between(50, 500));
    gateway.kill("SIGKILL");
    await restarting;
  }
  await gateway.restart();
  return gateway.startup_ms;
}

test(
  `${KILLS} kills in the middle of ${SESSIONS} answers: nothing that was seen or promised is lost`,
  async () => {
    const ledgers = Array.from({ length: SESSIONS }, (_, i) => new Ledger(`kill-${i}`));
    await Promise.all(ledgers.map(({ session_id }) => call(gateway, "session.create", { session_id })));
    const watchers = ledgers.map(({ session_id }, i) => watch(session_id, i));
    const startups: number[] = [];
    let interrupted = 0;
    door.resolve(gateway.url);
    try {
      for (let cycle = 0; cycle < KILLS; cycle++) {
        const kill_ms = random.between(20, 300);
        for (const ledger of ledgers) askSome(ledger, cycle, kill_ms);
        startups.push(await kill(kill_ms));
        expect(await unended()).toEqual([]);
        const pairs = ledgers.map((ledger, i) => ledger.check(gateway, watchers[i] as Watcher));
        await Promise.all(pairs);
        interrupted = ledgers
          .flatMap(({ transcript }) => transcript.runs)
          .filter(({ status }) => status === "interrupted").length;
        again(ledgers, cycle);
        door.resolve(gateway.url);
        await Promise.all(requests.splice(0));
      }
      await settled();
      for (const [i, ledger] of ledgers.entries()) {
        const watcher = watchers[i] as Watcher;
        await watcher.until(() => watcher.synced && watcher.transcript.session?.active_run_id === undefined);
        await ledger.check(gateway, watcher);
        await watcher.reached(ledger.events.length);
        ledger.checkEnd(watcher);
      }
      console.log(tell(startups, interrupted, ledgers, watchers));
      expect(Math.max(...startups)).toBeLessThan(STARTUP_MS);
      // That the kills hit what they were meant to hit.
      expect(interrupted).toBeGreaterThan(KILLS);
    } catch (error) {
      throw new Error(`AGENTBUS_TEST_SEED=${SEED}: ${(error as Error).message}`, { cause: error });
    } finally {
      await Promise.all(watchers.map((watcher) => watcher.stop().catch(() => undefined)));
      for (const { asked } of ledgers) for (const { sent } of asked) sent?.leave();
    }
  },
  { timeout: 30_000 + KILLS * 15_000 },
);

function watch(session_id: string, index: number): Watcher {
  return startWatcher({
    name: `watcher of ${session_id}`,
    session_id,
    token: gateway.token,
    route,
    transport: (n) => ((n + index) % 2 === 0 ? "ws" : "sse"),
    stall_ms: STALL_MS,
  });
}

function askSome(ledger: Ledger, cycle: number, kill_ms: number): void {
  ask(ledger, cycle, 0, kill_ms);
  if (random.chance(0.4)) ask(ledger, cycle, 1, kill_ms);
  if (random.chance(0.4)) ask(ledger, cycle, 2, kill_ms);
}

/** What was answered before the kill is asked once more after it. */
function again(ledgers: readonly Ledger[], cycle: number): void {
  for (const { asked } of ledgers) {
    const answered = asked.filter(({ key, sent }) => sent !== null && key.includes(`-${cycle}-`));
    const one = answered[random.between(0, answered.length)];
    if (one !== undefined) requests.push(request(one, random.pick<"ws" | "sse">(["ws", "sse"])));
  }
}

async function settled(): Promise<void> {
  for (let runs = await unended(); runs.length > 0; runs = await unended()) await Bun.sleep(20);
}

function tell(
  startups: readonly number[],
  interrupted: number,
  ledgers: readonly Ledger[],
  watchers: readonly Watcher[],
): string {
  const sorted = startups.toSorted((a, b) => a - b);
  const median = Math.round(sorted[Math.floor(sorted.length / 2)] ?? 0);
  const events = ledgers.reduce((sum, each) => sum + each.events.length, 0);
  const attempts = ledgers
    .flatMap(({ asked }) => asked)
    .reduce((sum, { sent }) => sum + (sent?.attempts ?? 0), 0);
  const asked = ledgers.reduce((sum, each) => sum + each.asked.length, 0);
  const openings = watchers.reduce((sum, { openings: each }) => sum + each.length, 0);
  return (
    `${KILLS} kills from seed ${SEED}: ${interrupted} runs interrupted, ${events} events, ${asked} requests in ` +
    `${attempts} attempts, ${openings} openings; start-up median ${median} ms, most ${Math.round(sorted.at(-1) ?? 0)} ms`
  );
}
