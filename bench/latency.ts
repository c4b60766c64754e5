import type { Bench, Figure } from "./support/bench.ts";
import { nowMicros } from "./support/clock.ts";
import { askDirectly } from "./support/direct.ts";
import type { GatewayProcess } from "./support/gateway.ts";
import type { ModelProcess, Order } from "./support/model.ts";
import { Tokens, order } from "./support/model.ts";
import { ms, quantiles, round, spread, withRange } from "./support/numbers.ts";
import { openRpc } from "./support/rpc.ts";

const AIM_MS = 1;
const PACE_MS = 40;

/** Milliseconds from the request to the first token, and from each token's stamp to its arrival. */
interface Answer {
  readonly first_ms: number;
  readonly latencies: number[];
}
type Ask = (what: Order) => Promise<Answer>;

/** What the gateway adds to calling the model server directly. */
export async function latency(bench: Bench): Promise<Figure[]> {
  await using model = await bench.model();
  await using gateway = await bench.gateway({ model: model.url });
  const through = askThrough(gateway);
  const directly = (what: Order): Promise<Answer> => direct(model, what);
  return [await firstToken(bench, through, directly), await perToken(bench, through, directly)];
}

async function firstToken(bench: Bench, through: Ask, directly: Ask): Promise<Figure> {
  const [a, b]: [number[], number[]] = [[], []];
  const pairs = bench.pick(150, 40);
  for (let pair = -10; pair < pairs; pair++) {
    const [ours, raw] = [await through({ tokens: 1 }), await directly({ tokens: 1 })];
    // The first ones warm both sides up.
    if (pair < 0) continue;
    a.push(ours.first_ms);
    b.push(raw.first_ms);
  }
  const added = spread(a.map((value, i) => value - (b[i] ?? 0)));
  const [mine, theirs] = [quantiles(a), quantiles(b)];
  return {
    what: "first token: added to a direct call",
    figure: `p50 ${ms(added.median)}, p99 ${ms(mine.p99 - theirs.p99)}`,
    against: `${ms(mine.p50)} through, ${ms(theirs.p50)} direct`,
    aim: `p50 < ${AIM_MS} ms`,
    held: added.median < AIM_MS,
    data: { added_ms: added, through_ms: mine, direct_ms: theirs },
  };
}

async function perToken(bench: Bench, through: Ask, directly: Ask): Promise<Figure> {
  const what = { tokens: bench.pick(60, 30), pace_ms: PACE_MS };
  const [a, b]: [Answer[], Answer[]] = [[], []];
  for (let pair = 0; pair < bench.pick(5, 2); pair++) {
    a.push(await through(what));
    b.push(await directly(what));
  }
  const added = spread(
    a.map((each, i) => quantiles(each.latencies).p50 - quantiles(b[i]?.latencies ?? []).p50),
  );
  const [mine, theirs] = [a, b].map((each) => quantiles(each.flatMap((one) => one.latencies)));
  const p99 = (mine?.p99 ?? 0) - (theirs?.p99 ?? 0);
  return {
    what: `each token, paced at ${PACE_MS} ms: added to a direct call`,
    figure: `p50 ${withRange(added, " ms")}, p99 ${ms(p99)}`,
    against: `${ms(mine?.p50 ?? 0)} through, ${ms(theirs?.p50 ?? 0)} direct`,
    aim: `p50 < ${AIM_MS} ms`,
    held: added.median < AIM_MS,
    data: { added_ms: added, through_ms: mine, direct_ms: theirs, tokens: round(a.length * what.tokens) },
  };
}

/** A session and a socket that are there before the clock starts. */
function askThrough({ socketUrl, token }: GatewayProcess): Ask {
  return async (what) => {
    const answer = collect(what.tokens ?? 1);
    const ended = Promise.withResolvers<void>();
    const rpc = await openRpc(socketUrl, token, (text) => {
      if (text.startsWith('{"type":"event","event":"run.completed"')) ended.resolve();
      if (!text.startsWith('{"type":"event","event":"message.delta"')) return;
      answer.push((JSON.parse(text) as { payload: { text: string } }).payload.text);
    });
    const { session_id } = await rpc.request<{ session_id: string }>("session.create", {});
    answer.start();
    await rpc.request("chat.send", { session_id, message: order(what) });
    const got = await answer.done;
    // What the gateway still writes must not fall into the next measurement.
    await ended.promise;
    rpc.close();
    return got;
  };
}

async function direct(model: ModelProcess, what: Order): Promise<Answer> {
  const answer = collect(what.tokens ?? 1);
  answer.start();
  await askDirectly(model.url, order(what), (text) => answer.push(text));
  return answer.done;
}

function collect(count: number) {
  const latencies: number[] = [];
  const done = Promise.withResolvers<Answer>();
  let began = 0;
  let first_ms = 0;
  const tokens = new Tokens((index, stamp) => {
    if (index === 0) first_ms = performance.now() - began;
    latencies.push((nowMicros() - stamp) / 1_000);
    if (latencies.length === count) done.resolve({ first_ms, latencies });
  });
  return {
    start: () => (began = performance.now()),
    push: (text: string) => tokens.push(text),
    done: done.promise,
  };
}
