import type { FoldEvent, Transcript } from "../../src/core/transcript.ts";
import type { DurablePayload } from "../../src/protocol/events.ts";
import type { RunningGateway } from "../support/gateway-process.ts";
import type { Cursor } from "../support/watcher.ts";
import { startWatcher } from "../support/watcher.ts";

/** Calls a method over REST, without a proxy. Rejects with what the gateway says. */
export async function call<T>(
  gateway: Pick<RunningGateway, "url" | "token">,
  method: string,
  params: Record<string, unknown> = {},
): Promise<T> {
  const response = await fetch(`${gateway.url}/api/v1/rpc/${method}`, {
    method: "POST",
    headers: { authorization: `Bearer ${gateway.token}`, "content-type": "application/json" },
    body: JSON.stringify(params),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${method}: ${response.status} ${text}`);
  return JSON.parse(text) as T;
}

/** The log of a session as a socket without a proxy gets it: what the others are held against. */
export interface SessionLog {
  readonly epoch: string;
  readonly head: number;
  /** By `<epoch>.<seq>`, as they came. */
  readonly raw: ReadonlyMap<string, string>;
  readonly events: readonly FoldEvent[];
  /** What the events add up to, when they are read from the first one on. */
  readonly transcript: Transcript;
}

/** Reads what is after a cursor; without one, everything. */
export async function readLog(
  gateway: Pick<RunningGateway, "url" | "token">,
  session_id: string,
  after?: Cursor,
): Promise<SessionLog> {
  const { head } = await call<{ head: number }>(gateway, "session.get", { session_id });
  await using reader = startWatcher({
    name: `reference of ${session_id}`,
    session_id,
    token: gateway.token,
    route: () => gateway.url,
    start: after ?? "start",
    catch_up: "log",
    stall_ms: 20_000,
  });
  await reader.reached(head, 60_000);
  const { cursor, seen, transcript } = reader;
  const events = [...seen.values()].map((raw) => JSON.parse(raw) as FoldEvent);
  return { epoch: cursor?.epoch ?? "", head: cursor?.seq ?? 0, raw: seen, events, transcript };
}

/** What the one message.completed among the events says; undefined where there is none. */
export function completedIn(events: readonly FoldEvent[]): DurablePayload<"message.completed"> | undefined {
  const done = events.filter(({ event }) => event === "message.completed");
  if (done.length > 1) throw new Error(`${done.length} times message.completed`);
  return done[0]?.payload as DurablePayload<"message.completed"> | undefined;
}

/** The text of the deltas among the events, joined. */
export function saidIn(events: readonly FoldEvent[]): string {
  const deltas = events.filter(({ event }) => event === "message.delta");
  return deltas.map(({ payload }) => (payload as DurablePayload<"message.delta">).text).join("");
}

export function sha256(text: string): string {
  return new Bun.CryptoHasher("sha256").update(text).digest("hex");
}

/** `t0 t1 t2 …`, as the model server says it. */
export function tokens(count: number): string {
  return Array.from({ length: count }, (_, i) => `t${i}`).join(" ");
}
