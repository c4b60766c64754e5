import { mkdirSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Bench, Figure } from "./support/bench.ts";
import { nowMicros } from "./support/clock.ts";
import type { GatewayProcess } from "./support/gateway.ts";
import { order, Tokens } from "./support/model.ts";
import { ms, quantiles, ratios, round, spread, withRange } from "./support/numbers.ts";
import { cpuSeconds } from "./support/process.ts";
import type { Rpc } from "./support/rpc.ts";
import { openRpc } from "./support/rpc.ts";

const PLUGINS = 10;
const COST_MAX = 0.05;
const LATE_MAX_MS = 50;
const STREAMS = 20;
const PACE_MS = 40;
const RELOAD_EVERY_MS = 250;
/** A reload is asked for, so that what is measured is the reload and not when it is noticed. */
const ENV = {
  AGENTBUS_TOOLS_BUILTIN: "time",
  AGENTBUS_TOOLS_POLICY: "*=allow",
  AGENTBUS_PLUGINS_AUTO_RELOAD: "false",
};

/** What plug-ins cost: hooks that do nothing on every turn, and a new version while answers are being written. */
export async function plugins(bench: Bench): Promise<Figure[]> {
  return [await turns(bench), await reloads(bench)];
}

/** Every hook, none of which has anything to say. */
function idler(name: string): string {
  return `import { definePlugin } from "agentbus/plugin";
const nothing = async () => {};
export default definePlugin({
  name: "${name}",
  hooks: {
    before_message: nothing, after_message: nothing, before_run: nothing, after_run: nothing,
    before_tool_call: nothing, after_tool_call: nothing,
  },
});
`;
}

/** A plug-in in two files, with a method, a tool, a listener and a hook. */
function worker(version: number): Readonly<Record<string, string>> {
  return {
    "worker/version.ts": `export const version = ${version};\n`,
    "worker/index.ts": `import { definePlugin, Type } from "agentbus/plugin";
import { version } from "./version.ts";
export default definePlugin({
  name: "worker",
  methods: {
    "worker.version": {
      scope: null, doc: "Which version runs.", params: Type.Object({}),
      result: Type.Object({ version: Type.Integer() }), run: () => ({ version }),
    },
  },
  tools: { worker: { description: "Says it.", parameters: Type.Object({}), run: () => String(version) } },
  events: { "message.completed": () => {} },
  hooks: { before_message: async () => {} },
});
`,
  };
}

function write(data_dir: string, files: Readonly<Record<string, string>>): void {
  for (const [name, text] of Object.entries(files)) {
    const path = join(data_dir, "plugins", name);
    mkdirSync(join(path, ".."), { recursive: true, mode: 0o700 });
    writeFileSync(`${path}.new`, text, { mode: 0o600 });
    renameSync(`${path}.new`, path);
  }
}

/** Turns with a call of a tool, so that every hook is called, beside the same without plug-ins. */
async function turns(bench: Bench): Promise<Figure> {
  await using model = await bench.model();
  const data_dir = bench.directory();
  for (let i = 0; i < PLUGINS; i++) write(data_dir, { [`idle${i}.ts`]: idler(`idle${i}`) });
  await using many = await bench.gateway({ model: model.url, data_dir, env: ENV });
  await using none = await bench.gateway({ model: model.url, env: ENV });
  const [a, b]: [Cost[], Cost[]] = [[], []];
  for (let i = 0; i < bench.pick(8, 3); i++) {
    const count = bench.pick(400, 100);
    // Neither always goes first.
    if (i % 2 === 0) a.push(await costOf(many, count, i));
    b.push(await costOf(none, count, i));
    if (i % 2 === 1) a.push(await costOf(many, count, i));
  }
  const cost = ratios(
    a.map(({ cpu_us }) => cpu_us),
    b.map(({ cpu_us }) => cpu_us),
  );
  const [mine, bare] = [spread(a.map(({ cpu_us }) => cpu_us)), spread(b.map(({ cpu_us }) => cpu_us))];
  const added = spread(a.map(({ wall_ms }, i) => wall_ms - (b[i]?.wall_ms ?? 0)));
  const percent = (ratio: number): string => `${((ratio - 1) * 100).toFixed(1)} %`;
  return {
    what: `processor time of a turn with a call of a tool, ${PLUGINS} plug-ins with every hook: added`,
    figure: `${percent(cost.median)} (${percent(cost.min)} – ${percent(cost.max)}), ${ms(added.median)} later`,
    against: `${withRange(mine, " µs")}; without ${withRange(bare, " µs")}`,
    aim: `< ${COST_MAX * 100} %`,
    held: cost.median < 1 + COST_MAX,
    data: { cost, with_us: mine, without_us: bare, added_ms: added },
  };
}

interface Cost {
  readonly cpu_us: number;
  readonly wall_ms: number;
}

async function costOf(gateway: GatewayProcess, count: number, round_no: number): Promise<Cost> {
  let ended: PromiseWithResolvers<void> | null = null;
  const rpc = await openRpc(gateway.socketUrl, gateway.token, (text) => {
    if (text.includes('"event":"run.completed"')) ended?.resolve();
  });
  const turn = async (session_id: string): Promise<void> => {
    ended = Promise.withResolvers<void>();
    const { promise } = ended;
    await rpc.request("chat.send", { session_id, message: order({ tokens: 1, calls: 1 }) });
    await promise;
  };
  for (let i = 0; i < 20; i++) await turn(`warm-${round_no}-${i}`);
  const before = cpuSeconds(gateway.pid);
  const began = performance.now();
  for (let i = 0; i < count; i++) await turn(`s-${round_no}-${i}`);
  const wall_ms = (performance.now() - began) / count;
  const cpu_us = ((cpuSeconds(gateway.pid) - before) * 1e6) / count;
  rpc.close();
  return { cpu_us, wall_ms };
}

/** How late tokens are while a plug-in is replaced again and again. */
async function reloads(bench: Bench): Promise<Figure> {
  await using model = await bench.model();
  const data_dir = bench.directory();
  write(data_dir, worker(0));
  for (let i = 1; i < PLUGINS; i++) write(data_dir, { [`idle${i}.ts`]: idler(`idle${i}`) });
  await using gateway = await bench.gateway({ model: model.url, data_dir, env: ENV });
  const rpc = await openRpc(gateway.socketUrl, gateway.token, () => undefined);
  const tokens = Math.round(bench.pick(10_000, 3_000) / PACE_MS);
  const quiet = quantiles(await lateness(gateway, tokens, "quiet"));
  let version = 0;
  const took: number[] = [];
  const busy = { isOver: false };
  const reloading = (async () => {
    while (!busy.isOver) {
      took.push(await replace(rpc, data_dir, ++version));
      await Bun.sleep(RELOAD_EVERY_MS);
    }
  })();
  const late = quantiles(await lateness(gateway, tokens, "busy"));
  busy.isOver = true;
  await reloading;
  rpc.close();
  return {
    what: `${STREAMS} streams, a token every ${PACE_MS} ms, while one of ${PLUGINS} plug-ins is replaced ${version} times: each token`,
    figure: `p50 ${ms(late.p50)}, p99 ${ms(late.p99)}, latest ${ms(late.max)}`,
    against: `nothing replaced: p50 ${ms(quiet.p50)}, p99 ${ms(quiet.p99)}, latest ${ms(quiet.max)}`,
    aim: `none later than ${LATE_MAX_MS} ms`,
    held: late.max <= LATE_MAX_MS,
    data: { late, quiet, replaced: version, reload_ms: quantiles(took), each_ms: round(spread(took).median) },
  };
}

/** Milliseconds from the change of its files to the answer of the new version. */
async function replace(rpc: Rpc, data_dir: string, version: number): Promise<number> {
  write(data_dir, worker(version));
  const began = performance.now();
  await rpc.request("plugin.reload", {});
  const answer = await rpc.request<{ version: number }>("worker.version", {});
  if (answer.version !== version) throw new Error(`version ${answer.version} answers, not ${version}`);
  return performance.now() - began;
}

/** Milliseconds from the stamp of each token to its arrival, of many streams at once. */
async function lateness(gateway: GatewayProcess, tokens: number, name: string): Promise<number[]> {
  const late: number[] = [];
  await Promise.all(
    Array.from({ length: STREAMS }, async (_, i) => {
      const ended = Promise.withResolvers<void>();
      const arrived = new Tokens((_index, stamp) => late.push((nowMicros() - stamp) / 1_000));
      const rpc = await openRpc(gateway.socketUrl, gateway.token, (text) => {
        if (text.startsWith('{"type":"event","event":"run.completed"')) ended.resolve();
        if (!text.startsWith('{"type":"event","event":"message.delta"')) return;
        arrived.push((JSON.parse(text) as { payload: { text: string } }).payload.text);
      });
      const message = order({ tokens, pace_ms: PACE_MS });
      await rpc.request("chat.send", { session_id: `${name}-${i}`, message });
      await ended.promise;
      rpc.close();
    }),
  );
  if (late.length !== STREAMS * tokens) throw new Error(`${late.length} of ${STREAMS * tokens} tokens came`);
  return late;
}
