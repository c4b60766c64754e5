import { mkdirSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { systemClock } from "../src/clock.ts";
import { DEFAULT_LIMITS } from "../src/core/limits.ts";
import type { StoreItem } from "../src/core/operation.ts";
import { createSqliteStore } from "../src/store/sqlite/store.ts";
import { made, said } from "../test/support/many-messages.ts";
import type { Bench, Figure } from "./support/bench.ts";
import { nowMicros } from "./support/clock.ts";
import type { GatewayProcess } from "./support/gateway.ts";
import { order, Tokens } from "./support/model.ts";
import { ms, quantiles, round } from "./support/numbers.ts";
import type { Rpc } from "./support/rpc.ts";
import { openRpc } from "./support/rpc.ts";

const MIB = 1024 ** 2;
const AIM = 1.5;
const STREAMS = 20;
const PACE_MS = 40;
const MESSAGE_BYTES = 32 * 1024;
const A_GROUP = 64;
const A_SESSION = 2_000;
/** Answers are shorter than the longest run, and begin again. */
const TOKENS = 1_000;
const LOOK_EVERY_MS = 100;

/** What those who read answers notice of a large database being backed up by the gateway itself. */
export async function backup(bench: Bench): Promise<Figure[]> {
  const bytes = bench.pick(1_024, 64) * MIB;
  const data_dir = bench.directory();
  bench.say(`filling a database with ${bytes / MIB} MiB`);
  await fill(data_dir, bytes);
  await using model = await bench.model();
  const directory = join(bench.directory(), "backups");
  mkdirSync(directory);
  const before_ms = bench.pick(30_000, 6_000);
  const [quiet, busy, took_ms] = await measure();
  const [without, during] = [quantiles(quiet), quantiles(busy)];
  const ratio = during.p99 / without.p99;
  const size = statSync(join(data_dir, "agentbus.db")).size;
  return [
    {
      what: `a backup of ${round(size / MIB)} MiB while ${STREAMS} answers are written: each token's way, p99`,
      figure: `${ratio.toFixed(2)}×: ${ms(during.p99)} during it, ${ms(without.p99)} before; it took ${round(took_ms / 1_000)} s`,
      aim: `within ${AIM}×`,
      held: ratio <= AIM,
      data: { during, without, took_ms, bytes: size, tokens: busy.length },
    },
  ];

  async function measure(): Promise<[number[], number[], number]> {
    const env = { AGENTBUS_BACKUP_DIRECTORY: directory, AGENTBUS_BACKUP_INTERVAL_HOURS: "1" };
    await using gateway = await bench.gateway({ model: model.url, data_dir });
    const alone = await read(gateway, async () => Bun.sleep(before_ms));
    await gateway.stop();
    await using other = await bench.gateway({ model: model.url, data_dir, env });
    const began = performance.now();
    const beside = await read(other, async () => {
      while (!readdirSync(directory).some((name) => name.endsWith(".db"))) await Bun.sleep(LOOK_EVERY_MS);
    });
    return [alone, beside, performance.now() - began];
  }
}

/** Milliseconds from each token's stamp to its arrival, while something goes on. */
async function read({ socketUrl, token }: GatewayProcess, until: () => Promise<void>): Promise<number[]> {
  const latencies: number[] = [];
  let counts = false;
  const readers = await Promise.all(
    Array.from({ length: STREAMS }, async () => {
      const tokens = new Tokens((_index, stamp) => {
        if (counts) latencies.push((nowMicros() - stamp) / 1_000);
      });
      const reader: Rpc = await openRpc(socketUrl, token, (text) => {
        if (text.startsWith('{"type":"event","event":"run.completed"')) void say();
        if (!text.startsWith('{"type":"event","event":"message.delta"')) return;
        tokens.push((JSON.parse(text) as { payload: { text: string } }).payload.text);
      });
      const { session_id } = await reader.request<{ session_id: string }>("session.create", {});
      const say = (): Promise<unknown> =>
        reader.request("chat.send", { session_id, message: order({ tokens: TOKENS, pace_ms: PACE_MS }) });
      await say();
      return reader;
    }),
  );
  await Bun.sleep(1_000);
  counts = true;
  await until();
  counts = false;
  for (const reader of readers) reader.close();
  return latencies;
}

async function fill(data_dir: string, bytes: number): Promise<void> {
  const log = { debug() {}, info() {}, warn() {}, error() {}, child: () => log };
  const limits = DEFAULT_LIMITS;
  const store = createSqliteStore({ data_dir, durability: "normal", clock: systemClock, log, limits });
  await store.open();
  const messages = Math.ceil(bytes / MESSAGE_BYTES);
  for (let at = 0; at < messages; at += A_GROUP) {
    const group = Array.from({ length: A_GROUP }, (_, i) => items(at + i)).flat();
    const result = await store.commit(group);
    if (!result.ok) throw new Error(`the store refused: ${result.refused}`);
  }
  await store.close();
}

function items(n: number): StoreItem[] {
  const session = `ses_${Math.floor(n / A_SESSION)}`;
  // Where search does not look: of what is there for long the words were taken long since.
  const filler = crypto.getRandomValues(Buffer.alloc((MESSAGE_BYTES * 3) / 4)).toString("base64");
  const message = said(session, `msg_${n}`, "", { metadata: { filler } });
  return n % A_SESSION === 0 ? [made(session, "somebody"), message] : [message];
}
