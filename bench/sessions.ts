import type { Bench, Figure } from "./support/bench.ts";
import { round } from "./support/numbers.ts";
import { settledBytes } from "./support/process.ts";
import { openRpc, poolOver } from "./support/rpc.ts";

const AIM_MIB = 100;
const SOCKETS = 8;
const IN_FLIGHT = 12;
const CONTENT = "a message of a few words, as people write them";

/** Memory does not follow the number of sessions there are. */
export async function sessions(bench: Bench): Promise<Figure[]> {
  const count = bench.pick(10_000, 4_000);
  await using gateway = await bench.gateway();
  const idle = await settledBytes(gateway.pid);
  const sockets = await Promise.all(
    Array.from({ length: SOCKETS }, () => openRpc(gateway.socketUrl, gateway.token)),
  );
  const began = performance.now();
  await poolOver(sockets, count, IN_FLIGHT, async (rpc, i) => {
    const session = { session_id: `s${i}` };
    await rpc.request("session.create", session);
    await rpc.request("chat.inject", { ...session, role: "user", content: CONTENT });
    await rpc.request("session.subscribe", session);
    await rpc.request("session.unsubscribe", session);
  });
  const seconds = (performance.now() - began) / 1_000;
  for (const rpc of sockets) rpc.close();
  const after = await settledBytes(gateway.pid, bench.pick(15_000, 3_000));
  const [before, now] = [idle / 1024 ** 2, after / 1024 ** 2];
  const added = now - before;
  return [
    {
      what: `resident memory after ${count.toLocaleString("en-US")} sessions were made, written and followed`,
      figure: `${round(now)} MiB, ${round(before)} idle: +${round(added)} MiB`,
      aim: `≤ ${AIM_MIB} MiB more`,
      held: added <= AIM_MIB,
      data: { idle, after, seconds },
    },
  ];
}
