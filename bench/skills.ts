import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Bench, Figure } from "./support/bench.ts";
import type { GatewayProcess } from "./support/gateway.ts";
import { order } from "./support/model.ts";
import { ms, quantiles, round, spread, withRange } from "./support/numbers.ts";
import { cpuSeconds } from "./support/process.ts";
import type { Rpc } from "./support/rpc.ts";
import { openRpc } from "./support/rpc.ts";

const CATALOGUE = 500;
const TOLD = 100;
const BODY = "Read the page, then the next one, and say what is on both. ".repeat(80);
/** A file that was changed so lately is read again at each look. */
const UNSETTLED_MS = 2_500;

/** What skills cost: reading them, noticing a change, and telling a model of them. */
export async function skills(bench: Bench): Promise<Figure[]> {
  return [...(await catalogue(bench)), await turns(bench)];
}

function writeSkill(data_dir: string, name: string, description: string): void {
  const folder = join(data_dir, "skills", name);
  mkdirSync(folder, { recursive: true });
  writeFileSync(
    join(folder, "SKILL.md"),
    `---\nname: ${name}\ndescription: ${description}\n---\n\n${BODY}\n`,
  );
}

function writeSkills(data_dir: string, count: number): void {
  for (let i = 0; i < count; i++) {
    writeSkill(
      data_dir,
      `skill-${i}`,
      `Reads pages of kind ${i}. Use when somebody asks what is on one of these.`,
    );
  }
}

async function catalogue(bench: Bench): Promise<Figure[]> {
  const data_dir = bench.directory();
  writeSkills(data_dir, CATALOGUE);
  await using gateway = await bench.gateway({ data_dir });
  let noticed: PromiseWithResolvers<void> | null = null;
  const rpc = await openRpc(gateway.socketUrl, gateway.token, (text) => {
    if (text.includes('"skill.changed"')) noticed?.resolve();
  });
  await Bun.sleep(UNSETTLED_MS);
  const [same, all, edits]: [number[], number[], number[]] = [[], [], []];
  for (let i = 0; i < bench.pick(20, 5); i++) same.push(await timed(() => rpc.request("skill.reload", {})));
  for (let i = 0; i < bench.pick(10, 4); i++) {
    noticed = Promise.withResolvers<void>();
    const { promise } = noticed;
    edits.push(
      await timed(() => {
        writeSkill(data_dir, "skill-7", `Edited ${i} times.`);
        return promise;
      }),
    );
    await Bun.sleep(500);
  }
  const restarts = bench.pick(5, 3);
  for (let i = 0; i < restarts; i++) {
    writeSkills(data_dir, CATALOGUE);
    all.push(await timed(() => rpc.request("skill.reload", {})));
  }
  rpc.close();
  const { p50, max } = quantiles(edits);
  return [
    { what: `${CATALOGUE} skills looked at, none changed`, figure: withRange(spread(same), " ms") },
    { what: `${CATALOGUE} skills read anew`, figure: withRange(spread(all), " ms") },
    {
      what: `from an edit of one of ${CATALOGUE} skills to skill.changed`,
      figure: `p50 ${ms(p50)}, most ${ms(max)}`,
      aim: "≤ 1,000 ms",
      held: max <= 1_000,
    },
  ];
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await work();
  return performance.now() - began;
}

/** Answers of one token, with many skills in the catalogue and with none. */
async function turns(bench: Bench): Promise<Figure> {
  await using model = await bench.model();
  const told = bench.directory();
  writeSkills(told, TOLD);
  await using many = await bench.gateway({ model: model.url, data_dir: told });
  await using none = await bench.gateway({ model: model.url });
  const [a, b]: [number[], number[]] = [[], []];
  for (let i = 0; i < bench.pick(5, 3); i++) {
    a.push(await cpuOfTurns(many, bench.pick(400, 100), i));
    b.push(await cpuOfTurns(none, bench.pick(400, 100), i));
  }
  const [with_skills, without] = [spread(a), spread(b)];
  return {
    what: `processor time of a turn with ${TOLD} skills in the prompt`,
    figure: withRange(with_skills, " µs"),
    against: `without skills ${withRange(without, " µs")}`,
    data: { more_us: round(with_skills.median - without.median) },
  };
}

/** Microseconds a turn. */
async function cpuOfTurns(gateway: GatewayProcess, count: number, round_no: number): Promise<number> {
  let ended: PromiseWithResolvers<void> | null = null;
  const rpc = await openRpc(gateway.socketUrl, gateway.token, (text) => {
    if (text.includes('"event":"run.completed"')) ended?.resolve();
  });
  await turn(rpc, `warm-${round_no}`);
  const before = cpuSeconds(gateway.pid);
  for (let i = 0; i < count; i++) await turn(rpc, `s-${round_no}-${i}`);
  const used = cpuSeconds(gateway.pid) - before;
  rpc.close();
  return (used * 1e6) / count;

  async function turn(socket: Rpc, session_id: string): Promise<void> {
    ended = Promise.withResolvers<void>();
    const { promise } = ended;
    await socket.request("chat.send", { session_id, message: order({ tokens: 1 }) });
    await promise;
  }
}
