import { readdirSync, readFileSync } from "node:fs";
import type { Random } from "./random.ts";
import { seeded } from "./random.ts";
import { openEvents } from "./sse-client.ts";
import { openSocket } from "./ws-client.ts";

export interface ChurnTarget {
  /** http://host:port */
  readonly url: string;
  readonly token: string;
  readonly pid: number;
}

export interface ChurnOptions {
  readonly ms: number;
  readonly seed: number;
  /** Visitors at once. */
  readonly workers: number;
  /** How long they come and go before everybody has left for a moment, and it is looked at. */
  readonly round_ms: number;
  readonly onRound?: (sample: Sample) => void;
}

/** The gateway while nobody is there. */
export interface Sample {
  /** Since the first visitor, s. */
  readonly at: number;
  readonly resident_mib: number;
  readonly descriptors: number;
}

export interface Churned {
  readonly samples: readonly Sample[];
  readonly visits: number;
  /** What resident memory goes on to grow by, by least squares over the last two thirds, and the standard error of that; MiB an hour. */
  readonly slope_mib_hour: number;
  readonly error_mib_hour: number;
}

/** Everybody has left; what the gateway does about it takes a moment. */
const QUIET_MS = 2_500;

/**
 * Visitors who come, talk and go, in every way: sockets and streams, ended and torn off, sessions made and deleted, answers
 * waited for, watched and aborted, files, searches, nonsense. What they are refused is no failure; that they are is counted by the gateway.
 */
export async function churn(target: ChurnTarget, options: ChurnOptions): Promise<Churned> {
  const random = seeded(options.seed);
  const samples: Sample[] = [];
  const began = performance.now();
  let visits = 0;
  while (performance.now() - began < options.ms) {
    const until = performance.now() + options.round_ms;
    const visit = async (): Promise<void> => {
      while (performance.now() < until) {
        await random.pick(VISITS)(target, random);
        visits++;
      }
    };
    await Promise.all(Array.from({ length: options.workers }, visit));
    await Bun.sleep(QUIET_MS);
    const sample = look(target.pid, (performance.now() - began) / 1_000);
    samples.push(sample);
    options.onRound?.(sample);
  }
  const { slope, error } = slopeOf(samples);
  return { samples, visits, slope_mib_hour: slope * 3_600, error_mib_hour: error * 3_600 };
}

type Visit = (target: ChurnTarget, random: Random) => Promise<void>;

const VISITS: [Visit, ...Visit[]] = [talk, watchAndLeave, readOverHttp, stream, nonsense];

async function talk(target: ChurnTarget, random: Random): Promise<void> {
  await using socket = await connect(target);
  const { session_id } = await socket.request("session.create", { title: "a visit" });
  await socket.request("session.subscribe", { session_id });
  const { run_id } = await socket.request("chat.send", { session_id, message: "say something about visits" });
  if (random.chance(0.3)) await socket.request("chat.abort", { session_id });
  await socket.request("run.wait", { run_id, timeout_ms: 20_000 });
  if (random.chance(0.3)) await socket.request("session.fork", { session_id });
  if (random.chance(0.9)) await socket.request("session.delete", { session_id });
}

/** Goes in the middle of an answer, which ends without anybody. */
async function watchAndLeave(target: ChurnTarget, random: Random): Promise<void> {
  const socket = await connect(target);
  const session_id = `shared-${random.between(0, 7)}`;
  await socket.request("chat.send", { session_id, message: "more", on_busy: "interrupt" });
  await socket.nextEvent("message.delta", 20_000).catch(() => undefined);
  socket.close(random.chance(0.5) ? 1000 : undefined);
  await socket.closed;
}

async function readOverHttp(target: ChurnTarget): Promise<void> {
  const headers = { authorization: `Bearer ${target.token}` };
  const paths = ["sessions", "search?query=visits", "status", "stats", "tools", "nowhere"];
  for (const path of paths) await (await fetch(`${target.url}/api/v1/${path}`, { headers })).text();
  const form = {
    method: "POST",
    headers: { ...headers, "content-type": "text/plain" },
    body: "a file ".repeat(500),
  };
  await (await fetch(`${target.url}/api/v1/attachments?name=visit.txt`, form)).text();
}

async function stream(target: ChurnTarget, random: Random): Promise<void> {
  const headers = { authorization: `Bearer ${target.token}` };
  const session_id = `shared-${random.between(0, 7)}`;
  const events = await openEvents(`${target.url}/api/v1/sessions/${session_id}/events`, { headers });
  await Promise.race([events.next().catch(() => undefined), Bun.sleep(1_000)]);
  events.close();
}

async function nonsense(target: ChurnTarget, random: Random): Promise<void> {
  const token = random.chance(0.5) ? "agb_nobody" : target.token;
  try {
    const socket = await openSocket(`${target.url}/ws`, { headers: { authorization: `Bearer ${token}` } });
    socket.send("{nonsense");
    socket.send({ type: "req", id: "1", method: "no.such", params: {} });
    await Bun.sleep(50);
    socket.close();
    await socket.closed;
  } catch {
    // A wrong token is refused.
  }
}

function connect({ url, token }: ChurnTarget): ReturnType<typeof openSocket> {
  return openSocket(`${url}/ws`, { headers: { authorization: `Bearer ${token}` } });
}

function look(pid: number, at: number): Sample {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const resident_kib = Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1]);
  return {
    at: Math.round(at),
    resident_mib: resident_kib / 1024,
    descriptors: readdirSync(`/proc/${pid}/fd`).length,
  };
}

export function mean(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0) / values.length;
}

/** MiB a second, and its standard error; what happens once at the beginning is left out. */
function slopeOf(samples: readonly Sample[]): { readonly slope: number; readonly error: number } {
  const late = samples.slice(Math.floor(samples.length / 3));
  const [x, y] = [mean(late.map(({ at }) => at)), mean(late.map(({ resident_mib }) => resident_mib))];
  const sum = (of: (sample: Sample) => number): number => late.reduce((total, each) => total + of(each), 0);
  const spread = sum(({ at }) => (at - x) ** 2);
  if (late.length < 3 || spread === 0) return { slope: 0, error: Number.POSITIVE_INFINITY };
  const slope = sum(({ at, resident_mib }) => (at - x) * (resident_mib - y)) / spread;
  const off = sum(({ at, resident_mib }) => (resident_mib - y - slope * (at - x)) ** 2);
  return { slope, error: Math.sqrt(off / (late.length - 2) / spread) };
}
