import { Database } from "bun:sqlite";
import { join } from "node:path";
import { MAX_ADDRESSES } from "../src/auth/throttle.ts";
import { DATABASE_FILE } from "../src/store/sqlite/database.ts";
import type { Bench, Figure } from "./support/bench.ts";
import { pause } from "./support/clock.ts";
import type { GatewayProcess } from "./support/gateway.ts";
import type { Door } from "./support/knock.ts";
import { addressOf, doorOf, knock, requestText, upgradeText } from "./support/knock.ts";
import { round } from "./support/numbers.ts";
import { residentBytes, settledBytes } from "./support/process.ts";
import { pool } from "./support/rpc.ts";

const MIB = 1024 ** 2;
const AIM_MIB = 10;
const ADDRESSES = 1_000;
const AT_ONCE = 64;
/** Before: so that what happens once is not charged to handshakes. */
const WARM_UP = 5_000;

/** What is left of handshakes that failed: of a stranger's who has a thousand addresses. */
export async function handshakes(bench: Bench): Promise<Figure[]> {
  await using gateway = await bench.gateway();
  const count = bench.pick(100_000, 10_000);
  const wait_ms = bench.pick(60_000, 10_000);
  await fail(gateway, bench.pick(WARM_UP, 2_000), 0);
  const before = await settledBytes(gateway.pid, wait_ms);
  bench.say(`${count.toLocaleString("en-US")} handshakes`);
  const began = performance.now();
  await fail(gateway, count, WARM_UP);
  const seconds = (performance.now() - began) / 1_000;
  const most = residentBytes(gateway.pid);
  bench.say(`${(wait_ms / 1_000).toFixed(0)} s to come to rest`);
  await pause(wait_ms);
  const after = residentBytes(gateway.pid);
  const more = (after - before) / MIB;
  await gateway.stop();
  const kept = addressesKept(gateway.data_dir);
  const many = `${count.toLocaleString("en-US")} handshakes that failed, from ${ADDRESSES.toLocaleString("en-US")} addresses`;
  return [
    {
      what: `resident memory ${wait_ms / 1_000} s after ${many}`,
      figure: `${more >= 0 ? "+" : ""}${round(more)} MiB (${round(before / MIB)} → ${round(after / MIB)}, ${round(most / MIB)} at their end)`,
      aim: `≤ ${AIM_MIB} MiB more`,
      held: more <= AIM_MIB,
      data: { before, most, after },
    },
    { what: "of them a second, by one client", figure: `${round(count / seconds)}/s` },
    {
      what: "addresses that the throttle keeps of them",
      figure: String(kept),
      aim: `≤ ${MAX_ADDRESSES.toLocaleString("en-US")}`,
      held: kept <= MAX_ADDRESSES,
    },
  ];
}

async function fail(gateway: GatewayProcess, count: number, from: number): Promise<void> {
  const door = doorOf(gateway.url);
  await pool(count, AT_ONCE, (index) => {
    const n = from + index;
    const way = WAYS[n % WAYS.length] as (typeof WAYS)[number];
    return way(door, addressOf(n % ADDRESSES), n);
  });
}

function secret(prefix: string, n: number): string {
  return `${prefix}${String(n).padStart(43, "A")}`;
}

type Failing = (door: Door, address: string, n: number) => Promise<void>;

/** Refused at the upgrade, or over HTTP. */
function refused(textOf: (door: Door, n: number) => string): Failing {
  return async (door, address, n) => {
    const peer = await knock(door, address);
    peer.write(textOf(door, n));
    const { status } = await peer.answer();
    peer.leave();
    if (status !== 401 && status !== 429) throw new Error(`a wrong credential was answered with ${status}`);
  };
}

/** Let onto a socket, where it says this; null: it leaves. */
function onSocket(textOf: (n: number) => string | null): Failing {
  return async (door, address, n) => {
    const peer = await knock(door, address);
    peer.write(upgradeText(door, []));
    const { status } = await peer.answer();
    const text = textOf(n);
    // Without room for one more stranger of that address it is refused before it is a socket.
    if (status === 101 && text !== null) {
      peer.send(text);
      await peer.frame();
    }
    peer.leave();
  };
}

const WAYS: readonly Failing[] = [
  refused((door, n) => upgradeText(door, [`Authorization: Bearer ${secret("agb_", n)}`])),
  refused((door, n) =>
    upgradeText(door, [`Sec-WebSocket-Protocol: agentbus.v1, agentbus.ticket.${secret("agt_", n)}`]),
  ),
  refused((door, n) =>
    requestText(door, "GET /api/v1/models", [`Authorization: Bearer ${secret("ags_", n)}`]),
  ),
  onSocket((n) =>
    JSON.stringify({ type: "req", id: "h", method: "connect", params: { auth_token: secret("agb_", n) } }),
  ),
  onSocket(() => "GET / HTTP/1.1"),
  onSocket(() => null),
];

/** What a stopped gateway has written of them. */
function addressesKept(data_dir: string): number {
  using db = new Database(join(data_dir, DATABASE_FILE), { readonly: true });
  const row = db.query("SELECT count(*) AS kept FROM records WHERE collection = 'throttle'").get();
  return (row as { kept: number }).kept;
}
