import { SESSION, closeSides, openSides } from "./fanout-sides.ts";
import type { Bench, Figure } from "./support/bench.ts";
import { nowMicros, pause } from "./support/clock.ts";
import type { GatewayProcess } from "./support/gateway.ts";
import { Tokens, order } from "./support/model.ts";
import type { Quantiles } from "./support/numbers.ts";
import { ms, quantiles, ratioText, ratios, round, spread, withRange } from "./support/numbers.ts";
import type { RawProcess } from "./support/raw.ts";
import type { Rpc } from "./support/rpc.ts";
import { openRpc } from "./support/rpc.ts";
import type { Watchers } from "./support/watchers.ts";

const AIM = 0.8;
const WATCHERS = 1_000;
/** In message.completed the text stands twice, as content and as a part: 120 KiB in all. */
const CHARS = 61_000;
const CHUNKS = 15;
const PACE_MS = 40;
const BETWEEN_MS = 400;
/** What a frame of the raw server weighs beside its text. */
const RAW_FRAME_CHARS = 130;

interface Round {
  /** From the first byte of the first watcher to the last byte of the last one. */
  readonly spread_ms: number;
  readonly latencies: number[];
}

/** A long answer ends for a thousand watchers while another session goes on. */
export async function bigMessage(bench: Bench, gateway: GatewayProcess, raw: RawProcess): Promise<Figure[]> {
  const [ours, other] = await openSides(gateway, raw, WATCHERS, "message.completed");
  const [asker] = ours.publishers;
  const [teller] = other.publishers;
  if (asker === undefined || teller === undefined) throw new Error("no publisher");
  const [a, b]: [Round[], Round[]] = [[], []];
  for (let pair = 0; pair < bench.pick(5, 2); pair++) {
    a.push(await gatewayRound(gateway, asker, ours.watchers));
    b.push(await rawRound(raw, teller, other.watchers, ours.watchers.bytes - RAW_FRAME_CHARS));
  }
  closeSides([ours, other]);
  const [mine, theirs] = [a, b].map((rounds) => rounds.map((each) => each.spread_ms));
  const against = ratios(theirs ?? [], mine ?? []);
  const [beside, rawBeside] = [a, b].map((rounds) => quantiles(rounds.flatMap((each) => each.latencies)));
  const kib = round(ours.watchers.bytes / 1024);
  return [
    {
      what: `message.completed of ${kib} KiB to 1,000 watchers, first byte to last`,
      figure: withRange(spread(mine ?? []), " ms"),
      against: ratioText(against),
      aim: `≥ ${AIM}×`,
      held: against.median >= AIM,
      data: {
        spread_ms: mine,
        raw_spread_ms: theirs,
        frame_bytes: ours.watchers.bytes,
        raw_frame_bytes: other.watchers.bytes,
      },
    },
    {
      what: "token latency of a second session beside it",
      figure: latencyText(beside),
      against: `raw ${latencyText(rawBeside)}`,
      data: { latency_ms: beside, raw_latency_ms: rawBeside },
    },
  ];
}

function latencyText(latency: Quantiles | undefined): string {
  if (latency === undefined) return "–";
  return `p50 ${ms(latency.p50)}, p99 ${ms(latency.p99)}, most ${ms(latency.max)}`;
}

const TOKENS = 40;

/** A listener on the session beside, and when each of its tokens came. */
async function openBeside(url: string, token: string | null) {
  const latencies: number[] = [];
  const done = Promise.withResolvers<void>();
  const tokens = new Tokens((index, stamp) => {
    latencies.push((nowMicros() - stamp) / 1_000);
    if (index === TOKENS - 1) done.resolve();
  });
  const rpc = await openRpc(url, token, (text) => {
    if (!text.startsWith('{"type":"event","event":"message.delta"')) return;
    tokens.push((JSON.parse(text) as { payload: { text: string } }).payload.text);
  });
  return { rpc, latencies, done: done.promise };
}

async function gatewayRound(gateway: GatewayProcess, asker: Rpc, watchers: Watchers): Promise<Round> {
  const beside = await openBeside(gateway.socketUrl, gateway.token);
  await beside.rpc.request("chat.send", { message: order({ tokens: TOKENS, pace_ms: PACE_MS }) });
  const spread_ms = await blast(watchers, () =>
    asker.request("chat.send", {
      session_id: SESSION,
      message: order({ chars: CHARS, chunks: CHUNKS }),
      subscribe: false,
    }),
  );
  await beside.done;
  beside.rpc.close();
  return { spread_ms, latencies: beside.latencies };
}

async function rawRound(raw: RawProcess, teller: Rpc, watchers: Watchers, chars: number): Promise<Round> {
  const beside = await openBeside(raw.socketUrl, null);
  await beside.rpc.request("subscribe", { session_id: "beside" });
  await beside.rpc.request("tokens", { session_id: "beside", count: TOKENS, pace_ms: PACE_MS });
  const spread_ms = await blast(watchers, () =>
    teller.request("blast", {
      session_id: SESSION,
      bytes: chars,
      chunks: CHUNKS,
      chunk_bytes: Math.round(CHARS / CHUNKS),
    }),
  );
  await beside.done;
  beside.rpc.close();
  return { spread_ms, latencies: beside.latencies };
}

async function blast(watchers: Watchers, begin: () => Promise<unknown>): Promise<number> {
  await pause(BETWEEN_MS);
  watchers.reset();
  await begin();
  await watchers.all(WATCHERS);
  return watchers.last_ms - watchers.first_ms;
}
