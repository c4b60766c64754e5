import { parseArgs } from "node:util";
import { nowMicros, pause } from "./clock.ts";
import { askDirectly } from "./direct.ts";
import { Tokens, order } from "./model.ts";
import type { Quantiles } from "./numbers.ts";
import { quantiles } from "./numbers.ts";
import type { Rpc } from "./rpc.ts";
import { openRpc, poolOver } from "./rpc.ts";
import { StreamCheck } from "./stream-check.ts";

export interface StreamsResult {
  readonly tokens: number;
  readonly lost: number;
  readonly doubled: number;
  readonly reordered: number;
  /** Runs that did not complete. */
  readonly failed: number;
  /** Sends that were refused because too much waited to be written, and repeated. */
  readonly refused: number;
  /** Frames of text that the tokens came in. */
  readonly frames: number;
  /** From a token's stamp to its arrival, milliseconds, by round. */
  readonly through: readonly Quantiles[];
  readonly direct: readonly Quantiles[];
  /** How long the rounds through the gateway took together. */
  readonly seconds: number;
}

/** The streams are opened over so long, and have so long to be open before the first token comes. */
const RAMP_MS = 1_000;
const MARGIN_MS = 750;
const OPENING_PER_SOCKET = 8;
const ROUND_MS = 60_000;
const RETRY_MS = 100;

if (import.meta.main) {
  const text = { type: "string", default: "0" } as const;
  const { values } = parseArgs({
    options: {
      url: text,
      token: text,
      model: text,
      streams: text,
      sockets: text,
      tokens: text,
      pace: text,
      rounds: text,
      calls: text,
    },
  });
  const load = {
    url: values.url,
    token: values.token,
    model: values.model,
    streams: Number(values.streams),
    sockets: Number(values.sockets),
    tokens: Number(values.tokens),
    pace_ms: Number(values.pace),
    calls: Number(values.calls),
  };
  console.log(JSON.stringify({ result: await run(load, Number(values.rounds)) }));
}

interface Load {
  readonly url: string;
  readonly token: string;
  readonly model: string;
  readonly streams: number;
  readonly sockets: number;
  readonly tokens: number;
  readonly pace_ms: number;
  /** Turns before the answer that call a tool. */
  readonly calls: number;
}

async function run(load: Load, rounds: number): Promise<StreamsResult> {
  const sum = { lost: 0, doubled: 0, reordered: 0, failed: 0, frames: 0, refused: 0 };
  const [through, direct]: [Quantiles[], Quantiles[]] = [[], []];
  let seconds = 0;
  for (let round = 0; round < rounds; round++) {
    const began = performance.now();
    const { latencies, refused, checks } = await throughGateway(load, round);
    sum.refused += refused;
    seconds += (performance.now() - began) / 1_000;
    through.push(quantiles(latencies));
    for (const check of checks) {
      sum.lost += check.lost;
      sum.doubled += check.doubled;
      sum.reordered += check.reordered;
      sum.failed += check.completed ? 0 : 1;
      sum.frames += check.frames;
    }
    direct.push(quantiles(await directly(load)));
  }
  return { ...sum, tokens: load.streams * load.tokens * rounds, through, direct, seconds };
}

async function throughGateway(load: Load, round: number) {
  const latencies: number[] = [];
  const checks = new Map<string, StreamCheck>();
  const over = Promise.withResolvers<void>();
  let ended = 0;
  let refused = 0;
  const onFrame = (text: string): void => {
    if (!text.includes('"seq":', 25)) return;
    const frame = JSON.parse(text) as Parameters<StreamCheck["take"]>[0];
    const ends = checks.get(frame.session_id)?.take(frame) === true;
    if (ends && ++ended === load.streams) over.resolve();
  };
  const sockets = await Promise.all(
    Array.from({ length: load.sockets }, () => openRpc(load.url, load.token, onFrame)),
  );
  const plan = planOf(load);
  await poolOver(sockets, load.streams, OPENING_PER_SOCKET, async (rpc, i) => {
    const { open_ms, message } = plan(i);
    await pause(open_ms - performance.now());
    const session_id = `round${round}-${i}`;
    const onToken = (stamp: number): void => void latencies.push((nowMicros() - stamp) / 1_000);
    checks.set(session_id, new StreamCheck(load.tokens, onToken));
    refused += await sendUntilTaken(rpc, { session_id, message });
  });
  // Streams that did not end by then count as failed.
  const timer = setTimeout(() => over.resolve(), ROUND_MS);
  await over.promise;
  clearTimeout(timer);
  for (const rpc of sockets) rpc.close();
  return { latencies, refused, checks: [...checks.values()] };
}

/** When each stream is opened (`performance.now()`), and its order: tokens come once all are open, spread over the pace. */
function planOf({
  streams,
  tokens,
  pace_ms,
  calls,
}: Load): (i: number) => { open_ms: number; message: string } {
  const began = performance.now();
  const first = nowMicros() + (RAMP_MS + MARGIN_MS) * 1_000;
  return (i) => ({
    open_ms: began + (i * RAMP_MS) / streams,
    message: order({ tokens, pace_ms, calls, from: Math.round(first + (i * pace_ms * 1_000) / streams) }),
  });
}

/** An overloaded gateway refuses and has done nothing; how often it did. */
async function sendUntilTaken(rpc: Rpc, params: Record<string, unknown>): Promise<number> {
  for (let refused = 0; ; refused++) {
    try {
      await rpc.request("chat.send", params);
      return refused;
    } catch (error) {
      if (!(error as Error).message.startsWith("UNAVAILABLE")) throw error;
      await pause(RETRY_MS);
    }
  }
}

async function directly(load: Load): Promise<number[]> {
  const latencies: number[] = [];
  const plan = planOf({ ...load, calls: 0 });
  const stream = async (i: number): Promise<void> => {
    const { open_ms, message } = plan(i);
    await pause(open_ms - performance.now());
    const tokens = new Tokens((_index, stamp) => latencies.push((nowMicros() - stamp) / 1_000));
    await askDirectly(load.model, message, (text) => tokens.push(text));
  };
  await Promise.all(Array.from({ length: load.streams }, (_, i) => stream(i)));
  return latencies;
}
