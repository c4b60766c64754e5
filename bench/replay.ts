import type { Bench, Figure } from "./support/bench.ts";
import type { GatewayProcess } from "./support/gateway.ts";
import { ratioText, ratios, round, spread, withRange } from "./support/numbers.ts";
import type { RawProcess } from "./support/raw.ts";
import { openRpc, poolOver } from "./support/rpc.ts";

const EVENTS = 10_000;
const SESSION = "replay";
const PAYLOAD = { text: "a few words of an answer" };
const WRITERS = 8;
const IN_FLIGHT = 16;

/** A reader that comes late and wants the whole log. */
export async function replay(bench: Bench): Promise<Figure[]> {
  const data_dir = bench.directory();
  await fill(bench, data_dir);
  // Started anew, it has nothing of the log in memory.
  await using gateway = await bench.gateway({ data_dir });
  await using raw = await bench.raw();
  const teller = await openRpc(raw.socketUrl, null);
  await teller.request("log", { session_id: SESSION, payload: PAYLOAD, count: EVENTS });
  teller.close();
  const [a, b]: [number[], number[]] = [[], []];
  for (let pair = -1; pair < bench.pick(7, 3); pair++) {
    const [ours, other] = [await fromGateway(gateway), await fromRaw(raw)];
    if (pair < 0) continue;
    a.push(ours);
    b.push(other);
  }
  const rate = (times: readonly number[]) => times.map((time) => (EVENTS * 1_000) / time);
  const against = ratios(rate(a), rate(b));
  return [
    {
      what: `replay of ${EVENTS.toLocaleString("en-US")} events to one late reader`,
      figure: `${withRange(spread(rate(a)), " events/s")}, ${round(spread(a).median)} ms`,
      against: ratioText(against),
      data: { ms: a, raw_ms: b, against },
    },
  ];
}

async function fill(bench: Bench, data_dir: string): Promise<void> {
  await using gateway = await bench.gateway({ data_dir });
  const writers = await Promise.all(
    Array.from({ length: WRITERS }, () => openRpc(gateway.socketUrl, gateway.token)),
  );
  await writers[0]?.request("session.create", { session_id: SESSION });
  const params = { session_id: SESSION, event: "app.bench", payload: PAYLOAD, durable: true };
  // session.created is the first event.
  await poolOver(writers, EVENTS - 1, IN_FLIGHT, (rpc) => rpc.request("event.send", params));
  for (const writer of writers) writer.close();
}

/** Milliseconds from the request to session.synced. @throws where an event is missing, doubled or out of order */
async function read(url: string, token: string | null, method: string, params: object): Promise<number> {
  let seq = 0;
  const synced = Promise.withResolvers<number>();
  const rpc = await openRpc(url, token, (text) => {
    if (text.startsWith('{"type":"event","event":"session.synced"')) return synced.resolve(performance.now());
    const at = text.indexOf('"seq":');
    if (at < 0) return;
    const next = Number.parseInt(text.slice(at + 6, at + 18), 10);
    if (next !== seq + 1) synced.reject(new Error(`seq ${next} came after ${seq}`));
    seq = next;
  });
  const began = performance.now();
  await rpc.request(method, params);
  const time = (await synced.promise) - began;
  rpc.close();
  if (seq !== EVENTS) throw new Error(`${seq} events of ${EVENTS}`);
  return time;
}

function fromGateway({ socketUrl, token }: GatewayProcess): Promise<number> {
  return read(socketUrl, token, "session.subscribe", { session_id: SESSION, after: 0, catch_up: "log" });
}

function fromRaw({ socketUrl }: RawProcess): Promise<number> {
  return read(socketUrl, null, "replay", { session_id: SESSION });
}
