import type { Bench, Figure } from "./support/bench.ts";
import type { FrameSocket } from "./support/frames.ts";
import { openFrames } from "./support/frames.ts";
import { round, spread, withRange } from "./support/numbers.ts";
import { settledBytes } from "./support/process.ts";
import { pool } from "./support/rpc.ts";

const AIM_KIB = 4;
const CONNECTIONS = 1_000;
/** Opened and closed before, so that what happens once is not charged to connections. */
const WARM_UP = 200;
/** Opened after the first thousand: without the slack a heap takes when it grows for the first time. */
const MORE = 2_000;
const OPEN_AT_ONCE = 64;

interface Target {
  readonly pid: number;
  readonly url: string;
  readonly token: string | null;
}
interface Measured {
  readonly idle: number;
  /** Bytes a connection, of the first thousand and of the two thousand after them. */
  readonly first: number;
  readonly next: number;
}

/** Resident memory of a gateway that does nothing, alone and with connections that do nothing. */
export async function memory(bench: Bench): Promise<Figure[]> {
  const [a, b]: [Measured[], Measured[]] = [[], []];
  for (let pair = 0; pair < bench.pick(3, 1); pair++) {
    await using gateway = await bench.gateway({ env: { AGENTBUS_GATEWAY_MAX_CONNECTIONS: "3200" } });
    await using raw = await bench.raw();
    const { pid, socketUrl: url, token } = gateway;
    // Side by side: they share processors, not memory.
    const [ours, other] = await Promise.all([
      measure({ pid, url, token }),
      measure({ pid: raw.pid, url: raw.socketUrl, token: null }),
    ]);
    a.push(ours);
    b.push(other);
  }
  const mib = (values: readonly Measured[]) => spread(values.map((each) => each.idle / 1024 ** 2));
  return [
    {
      what: "resident memory, idle",
      figure: withRange(mib(a), " MiB"),
      against: `raw ${round(mib(b).median)} MiB`,
      data: { idle: a, raw: b },
    },
    perConnection("of each of 1,000 idle authenticated connections", "first", a, b),
    perConnection("of each of 2,000 more", "next", a, b),
  ];
}

function perConnection(
  what: string,
  of: "first" | "next",
  a: readonly Measured[],
  b: readonly Measured[],
): Figure {
  const kib = (values: readonly Measured[]) => spread(values.map((each) => each[of] / 1024));
  const added = spread(a.map((each, i) => (each[of] - (b[i]?.[of] ?? 0)) / 1024));
  return {
    what: `resident memory ${what}`,
    figure: withRange(kib(a), " KiB"),
    against: `+${withRange(added, " KiB")}; raw ${round(kib(b).median)} KiB`,
    aim: `≤ ${AIM_KIB} KiB over raw`,
    held: added.median <= AIM_KIB,
    data: { ours: kib(a), raw: kib(b), added },
  };
}

async function measure(target: Target): Promise<Measured> {
  const idle = await settledBytes(target.pid);
  for (const socket of await open(target, WARM_UP)) socket.close();
  const before = await settledBytes(target.pid);
  const sockets = await open(target, CONNECTIONS);
  const after = await settledBytes(target.pid);
  sockets.push(...(await open(target, MORE)));
  const last = await settledBytes(target.pid);
  const lost = sockets.find((socket) => socket.lost !== null);
  if (lost !== undefined) throw new Error(`an idle connection was lost: ${lost.lost}`);
  for (const socket of sockets) socket.close();
  return { idle, first: (after - before) / CONNECTIONS, next: (last - after) / MORE };
}

async function open({ url, token }: Target, count: number): Promise<FrameSocket[]> {
  const sockets: FrameSocket[] = [];
  await pool(count, OPEN_AT_ONCE, async () => {
    sockets.push(await openFrames(url, token, { begin: () => undefined }));
  });
  return sockets;
}
