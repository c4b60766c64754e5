import { startEngine } from "../test/support/engine.ts";
import { systemClock } from "../src/clock.ts";
import { DEFAULT_LIMITS } from "../src/core/limits.ts";
import type { Store } from "../src/core/store.ts";
import { createMemoryStore } from "../src/store/memory.ts";
import type { Bench, Figure } from "./support/bench.ts";
import { ratioText, ratios, round, spread, withRange } from "./support/numbers.ts";
import { openRpc } from "./support/rpc.ts";
import { openWatchers } from "./support/watchers.ts";

const READERS = 1_000;
const SESSION = "reconnect";
const MESSAGES = 60;
const MESSAGE_CHARS = 1_000;
/** What a reader that was away for a little missed. */
const MISSED = 20;

/** Everybody comes back at the same moment. */
export async function reconnect(bench: Bench): Promise<Figure[]> {
  await using gateway = await bench.gateway({ env: { AGENTBUS_GATEWAY_MAX_CONNECTIONS: "1200" } });
  await using raw = await bench.raw();
  const ours = { url: gateway.socketUrl, token: gateway.token };
  const other = { url: raw.socketUrl, token: null };
  const rpc = await openRpc(ours.url, ours.token);
  await rpc.request("session.create", { session_id: SESSION });
  for (let i = 0; i < MESSAGES; i++) {
    await rpc.request("chat.inject", {
      session_id: SESSION,
      role: "user",
      content: "m".repeat(MESSAGE_CHARS),
    });
  }
  const opening = await rpc.request<{ snapshot: object; epoch: string; head: number }>("session.subscribe", {
    session_id: SESSION,
  });
  rpc.close();
  const bytes = JSON.stringify(opening.snapshot).length;
  const teller = await openRpc(other.url, null);
  await teller.request("snapshot", { bytes });
  teller.close();

  const snapshot = { method: "session.subscribe", params: { session_id: SESSION } };
  const cursor = { session_id: SESSION, epoch: opening.epoch, after: opening.head - MISSED };
  const resume = { method: "session.subscribe", params: cursor };
  const join = { method: "join", params: { session_id: SESSION } };
  const [a, b, c]: [number[], number[], number[]] = [[], [], []];
  for (let round_ = 0; round_ < bench.pick(5, 2); round_++) {
    a.push(await storm(ours, snapshot));
    c.push(await storm(other, join));
    b.push(await storm(ours, resume));
  }
  const built = await snapshotsBuilt();
  const kib = round(bytes / 1024);
  const readers = READERS.toLocaleString("en-US");
  return [
    {
      what: `${readers} readers reconnect at once with a snapshot of ${kib} KiB, until all are synced`,
      figure: withRange(spread(a), " ms"),
      against: ratioText(ratios(c, a)),
      data: { ms: a, raw_ms: c, snapshot_bytes: bytes },
    },
    {
      what: `${readers} readers reconnect at once and resume, ${MISSED} events behind`,
      figure: withRange(spread(b), " ms"),
      data: { ms: b },
    },
    {
      what: `snapshots built for ${readers} readers`,
      figure: String(built),
      aim: "1",
      held: built === 1,
    },
  ];
}

async function storm(
  target: { url: string; token: string | null },
  request: { method: string; params: Record<string, unknown> },
): Promise<number> {
  const { watchers, took_ms } = await openWatchers(READERS, target, request, "app.none");
  watchers.close();
  return took_ms;
}

/** Counted at the store of an engine in this process: a gateway does not tell. */
async function snapshotsBuilt(): Promise<number> {
  let built = 0;
  const memory = createMemoryStore({ clock: systemClock, limits: DEFAULT_LIMITS });
  const store = new Proxy<Store>(memory, {
    get(target, key) {
      const value: unknown = Reflect.get(target, key, target);
      if (key === "snapshot") built++;
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
  const engine = await startEngine({ store });
  const owner = engine.connect();
  await owner.request("session.create", { session_id: SESSION });
  await owner.request("chat.inject", { session_id: SESSION, role: "user", content: "hello" });
  const readers = Array.from({ length: READERS }, () => engine.connect());
  await Promise.all(readers.map((reader) => reader.request("session.subscribe", { session_id: SESSION })));
  await engine.close();
  return built;
}
