import type { GatewayProcess } from "./support/gateway.ts";
import type { RawProcess } from "./support/raw.ts";
import type { Rpc } from "./support/rpc.ts";
import { openRpc } from "./support/rpc.ts";
import type { Watchers } from "./support/watchers.ts";
import { openWatchers } from "./support/watchers.ts";

export const SESSION = "fanout";
const PUBLISHERS = 16;

/** A server, who publishes there and who watches. */
export interface Side {
  readonly pid: number;
  readonly publishers: readonly Rpc[];
  readonly watchers: Watchers;
  readonly count: number;
}

interface Target {
  readonly url: string;
  readonly token: string | null;
  readonly pid: number;
}

/** `count` watchers of `event` in one session, at the gateway and at the raw server. */
export async function openSides(
  gateway: GatewayProcess,
  raw: RawProcess,
  count: number,
  event = "app.bench",
): Promise<[Side, Side]> {
  const { socketUrl: url, token, pid } = gateway;
  const rpc = await openRpc(url, token);
  // It exists after the first time.
  await rpc.request("session.create", { session_id: SESSION }).catch(() => undefined);
  const { epoch, head } = await rpc.request<{ epoch: string; head: number }>("session.get", {
    session_id: SESSION,
  });
  rpc.close();
  const cursor = { session_id: SESSION, epoch, after: head };
  const bare = { url: raw.socketUrl, token: null, pid: raw.pid };
  return [
    await openSide({ url, token, pid }, count, { method: "session.subscribe", params: cursor }, event),
    await openSide(bare, count, { method: "subscribe", params: { session_id: SESSION } }, event),
  ];
}

async function openSide(
  target: Target,
  count: number,
  request: { method: string; params: Record<string, unknown> },
  event: string,
): Promise<Side> {
  const { url, token, pid } = target;
  const { watchers } = await openWatchers(count, { url, token }, request, event);
  const publishers = await Promise.all(Array.from({ length: PUBLISHERS }, () => openRpc(url, token)));
  return { pid, publishers, watchers, count };
}

export function closeSides(sides: readonly Side[]): void {
  for (const { watchers, publishers } of sides) {
    watchers.close();
    for (const rpc of publishers) rpc.close();
  }
}
