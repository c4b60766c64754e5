import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Bench, Figure } from "./support/bench.ts";
import { askDirectly } from "./support/direct.ts";
import type { GatewayProcess } from "./support/gateway.ts";
import type { ModelProcess, Order } from "./support/model.ts";
import { order } from "./support/model.ts";
import { ms, quantiles, round, spread } from "./support/numbers.ts";
import { cpuSeconds } from "./support/process.ts";
import { openRpc } from "./support/rpc.ts";
import { paced } from "./streams.ts";

/** Round trips of one run; a model that makes the same call again and again is stopped. */
const CALLS = 8;
const CATALOGUE = 200;
const STREAMS = 500;
const PACE_MS = 200;
const ALLOWED = { AGENTBUS_TOOLS_BUILTIN: "time", AGENTBUS_TOOLS_POLICY: "*=allow" };
const TOOL_SERVER = join(import.meta.dir, "support", "tool-server.ts");

/** What calls of tools cost: one after the other, with many tools to choose from, and in many runs at once. */
export async function tools(bench: Bench): Promise<Figure[]> {
  const runs = {
    what: `${STREAMS} runs at once that call a tool, a token every ${PACE_MS} ms`,
    streams: STREAMS,
    pace_ms: PACE_MS,
    calls: 1,
    env: ALLOWED,
  };
  return [await roundTrip(bench), await catalogue(bench), ...(await paced(bench, runs))];
}

/** A call, its result in the log, and the beginning of the next turn. */
async function roundTrip(bench: Bench): Promise<Figure> {
  await using model = await bench.model();
  await using gateway = await bench.gateway({ model: model.url, env: ALLOWED });
  const through = await openRuns(gateway);
  const trips: number[] = [];
  const bare: number[] = [];
  const runs = bench.pick(60, 20);
  for (let i = -5; i < runs; i++) {
    const without = await through.run({ tokens: 1 });
    const withCalls = await through.run({ tokens: 1, calls: CALLS });
    const direct = await directly(model);
    // The first ones warm both sides up.
    if (i < 0) continue;
    trips.push((withCalls - without) / CALLS);
    bare.push(direct);
  }
  through.close();
  const [trip, turn] = [quantiles(trips), quantiles(bare)];
  return {
    what: "tool round trip: a call, its result, and the next turn",
    figure: `p50 ${ms(trip.p50)}, p99 ${ms(trip.p99)}`,
    against: `a direct call of the model p50 ${ms(turn.p50)}`,
    data: { trip_ms: trip, direct_ms: turn, calls: CALLS, runs },
  };
}

/** What a model is told of its tools with every turn. */
async function catalogue(bench: Bench): Promise<Figure> {
  await using model = await bench.model();
  const data_dir = bench.directory();
  const server = [
    "[mcp.servers.many]",
    `command = ${JSON.stringify(process.execPath)}`,
    `args = ${JSON.stringify([TOOL_SERVER, String(CATALOGUE)])}`,
  ];
  writeFileSync(join(data_dir, "agentbus.toml"), server.join("\n"));
  await using few = await bench.gateway({ model: model.url });
  await using many = await bench.gateway({ model: model.url, data_dir });
  const [bare, full] = [await openRuns(few), await openRuns(many)];
  await full.tools(CATALOGUE);
  const added: number[] = [];
  const cpu = { bare: 0, full: 0 };
  const runs = bench.pick(200, 50);
  for (let i = -10; i < runs; i++) {
    const before = [cpuSeconds(few.pid), cpuSeconds(many.pid)] as const;
    const without = await bare.run({ tokens: 1 });
    const withTools = await full.run({ tokens: 1 });
    if (i < 0) continue;
    added.push(withTools - without);
    cpu.bare += cpuSeconds(few.pid) - before[0];
    cpu.full += cpuSeconds(many.pid) - before[1];
  }
  bare.close();
  full.close();
  const { median } = spread(added);
  const more_ms = ((cpu.full - cpu.bare) * 1_000) / runs;
  return {
    what: `a turn with ${CATALOGUE} tools in the catalogue: added to one without`,
    figure: `p50 ${ms(median)}, ${round(more_ms)} ms of processor time`,
    data: { added_ms: quantiles(added), processor_ms: more_ms, runs },
  };
}

/** One run after the other, each in a session of its own; how long each takes, from the request to its end. */
async function openRuns({ socketUrl, token }: GatewayProcess) {
  let ended: PromiseWithResolvers<string> | null = null;
  const rpc = await openRpc(socketUrl, token, (text) => {
    const [, how] = /^\{"type":"event","event":"run\.(completed|failed|aborted)"/.exec(text) ?? [];
    if (how !== undefined) ended?.resolve(how);
  });
  return {
    close: () => rpc.close(),
    async run(what: Order): Promise<number> {
      const { session_id } = await rpc.request<{ session_id: string }>("session.create", {});
      ended = Promise.withResolvers<string>();
      const began = performance.now();
      await rpc.request("chat.send", { session_id, message: order(what) });
      const how = await ended.promise;
      if (how !== "completed") throw new Error(`a run was ${how}`);
      return performance.now() - began;
    },
    /** Resolves once there are so many. */
    async tools(count: number): Promise<void> {
      for (;;) {
        const list = await rpc.request<{ tools: readonly unknown[] }>("tool.list", {});
        if (list.tools.length >= count) return;
        await Bun.sleep(50);
      }
    },
  };
}

async function directly(model: ModelProcess): Promise<number> {
  const began = performance.now();
  await askDirectly(model.url, order({ tokens: 1 }), () => undefined);
  return performance.now() - began;
}
