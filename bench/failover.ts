import type { Bench, Figure } from "./support/bench.ts";
import type { GatewayProcess } from "./support/gateway.ts";
import { order } from "./support/model.ts";
import { ms, quantiles } from "./support/numbers.ts";
import { openRpc } from "./support/rpc.ts";

/** Nothing listens there. */
const REFUSING = "http://127.0.0.1:1/v1";
const AN_HOUR_SECS = "3600";

/** When what came of a run, in milliseconds of the same clock. */
interface Seen {
  readonly sent: number;
  /** The first token of the answer that stands. */
  readonly token: number;
  /** A model was asked again; 0: none was. */
  readonly retrying: number;
}

/** Providers that fail, each in its way; `test` answers in their place. */
interface Case {
  readonly provider: string;
  readonly what: string;
  /** From here to the first token of the answer that stands. */
  readonly from: "sent" | "retrying";
}

const CASES: readonly Case[] = [
  { provider: "refusing", what: "fail-over before the first token, connection refused", from: "sent" },
  { provider: "failing", what: "fail-over before the first token, 503", from: "sent" },
  { provider: "open", what: "fail-over before the first token, known to fail", from: "sent" },
  { provider: "breaking", what: "an answer that broke off, until another begins", from: "retrying" },
];

/** How long a reader waits for the first token where a provider fails and another one answers. */
export async function failover(bench: Bench): Promise<Figure[]> {
  await using model = await bench.model();
  using failing = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch: () => new Response("", { status: 503 }),
  });
  using breaking = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: () => half() });
  const addresses = { refusing: REFUSING, open: REFUSING, failing: v1(failing), breaking: v1(breaking) };
  await using gateway = await bench.gateway({
    model: model.url,
    env: {
      AGENTBUS_LLM_FALLBACK: "test/fake",
      ...Object.assign({}, ...Object.entries(addresses).map(([name, url]) => provider(name, url))),
    },
  });
  const ask = await openRuns(gateway);
  const runs = bench.pick(150, 40);
  const direct: number[] = [];
  const waits = new Map(CASES.map(({ provider: name }) => [name, [] as number[]]));
  for (let i = -10; i < runs; i++) {
    const plain = await ask.run("test/fake");
    const seen = new Map<Case, Seen>();
    for (const each of CASES) seen.set(each, await ask.run(`${each.provider}/any`));
    // The first ones warm both sides up, and let the gateway learn which provider fails.
    if (i < 0) continue;
    direct.push(plain.token - plain.sent);
    for (const [each, run] of seen) waits.get(each.provider)?.push(run.token - run[each.from]);
  }
  ask.close();
  const alone = quantiles(direct);
  return CASES.map(({ provider: name, what }) => {
    const took = quantiles(waits.get(name) ?? []);
    return {
      what,
      figure: `p50 ${ms(took.p50)}, p99 ${ms(took.p99)}`,
      against: `first token without a failure p50 ${ms(alone.p50)}, p99 ${ms(alone.p99)}`,
      data: { took_ms: took, without_ms: alone, runs },
    };
  });
}

function v1({ url }: { readonly url: URL }): string {
  return `${url.origin}/v1`;
}

/** Never asked again; only `open` is passed over once it has failed. */
function provider(name: string, url: string): Record<string, string> {
  const prefix = `AGENTBUS_LLM_PROVIDERS_${name.toUpperCase()}`;
  return {
    [`${prefix}_BASE_URL`]: url,
    [`${prefix}_MAX_RETRIES`]: "0",
    [`${prefix}_CIRCUIT_FAILURES`]: name === "open" ? "1" : "0",
    [`${prefix}_CIRCUIT_SECS`]: AN_HOUR_SECS,
  };
}

/** An answer that ends in its middle. */
function half(): Response {
  const choices = [{ index: 0, delta: { content: "half " }, finish_reason: null }];
  const body = `data: ${JSON.stringify({ choices })}\n\n`;
  return new Response(body, { headers: { "content-type": "text/event-stream" } });
}

/** One run after the other, each in a session of its own. */
async function openRuns({ socketUrl, token }: GatewayProcess) {
  let seen = { token: 0, retrying: 0 };
  let ended = Promise.withResolvers<string>();
  const rpc = await openRpc(socketUrl, token, (text) => {
    const [, event = ""] = /^\{"type":"event","event":"([a-z._]+)"/.exec(text) ?? [];
    if (event === "run.retrying") seen = { token: 0, retrying: performance.now() };
    if (event === "message.discarded") seen.token = 0;
    if (event === "message.delta" && seen.token === 0) seen.token = performance.now();
    if (event === "run.completed" || event === "run.failed") ended.resolve(event);
  });
  return {
    close: () => rpc.close(),
    async run(model: string): Promise<Seen> {
      const { session_id } = await rpc.request<{ session_id: string }>("session.create", { model });
      seen = { token: 0, retrying: 0 };
      ended = Promise.withResolvers();
      const sent = performance.now();
      await rpc.request("chat.send", { session_id, message: order({ tokens: 1 }) });
      const end = await ended.promise;
      if (end !== "run.completed" || seen.token === 0)
        throw new Error(`a run with ${model} ended with ${end}`);
      return { sent, ...seen };
    },
  };
}
