import { expect } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { GatewayProcessOptions, RunningGateway } from "../support/gateway-process.ts";
import { startGateway } from "../support/gateway-process.ts";
import type { Ask, Told } from "./healthy-client.ts";
import type { WatchedLog } from "./watched-log.ts";
import { watchLog } from "./watched-log.ts";

/** The p99 of a client that behaves may grow to three times what it was, and in any case to this: 50 ms on a machine of its own. */
const FLOOR_MS = 250;
const TIMES = 3;
/** What the gateway may be larger by, once an attack is over. */
const GROWTH_MIB = 64;
/** The collector takes up to 20 s to come by when nothing happens. */
const SETTLE_MS = 30_000;
/** Answers the healthy client has before the first case, and during each. */
const QUIET_SAMPLES = 30;
const CASE_SAMPLES = 10;
/** How often a case is run where the time alone is missed: the machine may have had other things to do. */
const TRIES = 4;
const SLOWER_MAX = 8;

export interface Grant {
  readonly user?: string;
  readonly role?: "viewer" | "user" | "operator" | "admin";
  readonly expires_in_secs?: number;
}

/** Somebody with a token of their own. */
export interface Guest {
  readonly token: string;
  readonly token_id: string;
}

/** Something was right, but late: the attack is run again before it counts. */
export class Late extends Error {}

/** @throws Late where it took longer */
export function inTime(took_ms: number, bound_ms: number, what: string): void {
  if (took_ms >= bound_ms)
    throw new Late(`${what} took ${Math.round(took_ms)} ms, not ${Math.round(bound_ms)}`);
}

/** For what is not about how fast somebody may change something, and does it faster than 50 times a second. */
export const ANY_RATE = { mutations_per_second: 100_000, mutations_burst: 100_000 };

/** What a REST call answered; `body` is null where it is no JSON. */
export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  // oxlint-disable-next-line typescript/no-explicit-any -- a test looks wherever it likes
  readonly body: any;
}

/** A gateway to be attacked, with a client that behaves beside it. */
export interface Arena extends AsyncDisposable {
  readonly gateway: RunningGateway;
  readonly port: number;
  /** What the gateway says, and may not. */
  readonly log: WatchedLog;
  /** Makes a token; with nothing said it is the owner's, with every scope. */
  guest(grant?: Grant): Promise<Guest>;
  /** A method over REST, as the owner or with another token. Rejects where it is refused. */
  // oxlint-disable-next-line typescript/no-explicit-any -- as above
  call(method: string, params?: object, token?: string): Promise<any>;
  /** Any request, without a credential of its own. A body that is text goes out as it is, anything else as JSON. */
  ask(
    verb: string,
    path: string,
    init?: { headers?: Record<string, string>; body?: unknown },
  ): Promise<Answer>;
  /** From now on the log must not hold this text; the text. */
  secret(text: string): string;
  /**
   * Runs an attack. What has to hold besides its own result: the healthy client's p99 stays below three times its own
   * (50 ms at least), the gateway is not more than 64 MiB larger when it is over than when the arena was opened, it has
   * met no bug, and neither a secret nor a line of somebody else's stands in its log. Where the time alone is missed the
   * attack is run again, and what the healthy client had before it is measured anew: so it has to be one that can be,
   * and is told which time it is, from 0. The last time counts as much longer as the gateway waited for a processor.
   */
  beside<T>(attack: (round: number) => Promise<T>): Promise<T>;
}

export interface ArenaOptions extends GatewayProcessOptions {
  /** Beginnings of errors in the log that the attacks are meant to bring about. */
  readonly errors?: readonly string[];
  /** How long memory may take to be given back, and how often an attack is run; for the tests of `beside` itself. */
  readonly settle_ms?: number;
  readonly tries?: number;
}

export async function openArena(options: ArenaOptions = {}): Promise<Arena> {
  const { errors = [], settle_ms = SETTLE_MS, tries = TRIES, ...rest } = options;
  const log = watchLog(errors);
  const env = { AGENTBUS_LOG_LEVEL: "debug", ...rest.env };
  const gateway = await startGateway({ ...rest, env, heard: log.heard });
  log.secret(gateway.token);
  const healthy = startHealthy(gateway);
  let small = Number.POSITIVE_INFINITY;

  async function ask(
    verb: string,
    path: string,
    init: { headers?: Record<string, string>; body?: unknown } = {},
  ): Promise<Answer> {
    const { body } = init;
    const headers = { ...(body !== undefined && { "content-type": "application/json" }), ...init.headers };
    const text = typeof body === "string" ? body : JSON.stringify(body);
    const sent = body === undefined ? {} : { body: text };
    const response = await fetch(`${gateway.url}${path}`, { method: verb, headers, ...sent });
    const answer = await response.text();
    return { status: response.status, headers: response.headers, body: readJson(answer) };
  }

  async function call(method: string, params: object = {}, token = gateway.token): Promise<unknown> {
    const headers = { authorization: `Bearer ${token}` };
    const { status, body } = await ask("POST", `/api/v1/rpc/${method}`, { headers, body: params });
    if (status >= 400) throw new Error(`${method}: ${JSON.stringify(body)}`);
    return body;
  }

  /** One try; what it resolves with, or a Late. */
  async function attempt<T>(attack: (round: number) => Promise<T>, round: number): Promise<T> {
    await healthy.ask(round === 0 ? "begin" : "begin anew", QUIET_SAMPLES);
    // What the same attack left to be collected is no growth of the next try.
    small = round === 0 ? Math.min(small, residentMib(gateway.pid)) : residentMib(gateway.pid);
    const began = scheduled(gateway.pid);
    const result = await attack(round);
    const { before_ms, during_ms, samples, failed } = await healthy.ask("end", CASE_SAMPLES);
    expect({ failed }).toEqual({ failed: null });
    expect(samples).toBeGreaterThanOrEqual(CASE_SAMPLES);
    const last = round + 1 === tries;
    const slower = last ? slowdown(began, scheduled(gateway.pid)) : 1;
    const bound_ms = slower * Math.max(FLOOR_MS, TIMES * before_ms);
    inTime(during_ms, bound_ms, "an answer to the client that behaves");
    return result;
  }

  async function beside<T>(attack: (round: number) => Promise<T>): Promise<T> {
    for (let round = 0; ; round++) {
      const result = await attempt(attack, round).catch((error: unknown) => {
        if (error instanceof Late && round + 1 < tries) return error;
        throw error;
      });
      if (result instanceof Late) continue;
      const settled = (): boolean => residentMib(gateway.pid) < small + GROWTH_MIB;
      await until(settled, `the gateway to be less than ${GROWTH_MIB} MiB larger`, settle_ms);
      log.check();
      return result;
    }
  }

  return {
    gateway,
    log,
    port: Number(new URL(gateway.url).port),
    async guest(grant = { role: "admin" }) {
      const made = (await call("token.create", { name: "guest", ...grant })) as Guest;
      log.secret(made.token);
      return made;
    },
    call,
    ask,
    secret: log.secret,
    beside,
    async [Symbol.asyncDispose]() {
      await healthy[Symbol.asyncDispose]();
      await gateway[Symbol.asyncDispose]();
      log.checkAll();
    },
  };
}

/** How long the main thread of a process has run, and how long it waited for a processor that others had. */
interface Scheduled {
  readonly ran_ns: number;
  readonly waited_ns: number;
}

function scheduled(pid: number): Scheduled {
  if (process.platform !== "linux") return { ran_ns: 0, waited_ns: 0 };
  const [ran_ns = 0, waited_ns = 0] = readFileSync(`/proc/${pid}/schedstat`, "utf8").split(" ").map(Number);
  return { ran_ns, waited_ns };
}

/** How much longer everything took because the processors had other things to do: 1 where they had not. */
function slowdown(from: Scheduled, to: Scheduled): number {
  const ran_ns = to.ran_ns - from.ran_ns;
  const waited_ns = to.waited_ns - from.waited_ns;
  return ran_ns > 0 ? Math.min(SLOWER_MAX, 1 + waited_ns / ran_ns) : 1;
}

/** The memory a process holds; 0 where the system does not tell. */
export function residentMib(pid: number): number {
  if (process.platform !== "linux") return 0;
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) / 1024;
}

/** Starts the client that behaves; what it says of a case is up to `beside`. */
function startHealthy({ ws_url, token }: RunningGateway) {
  const answers: PromiseWithResolvers<Told>[] = [];
  const child = Bun.spawn([process.execPath, join(import.meta.dir, "healthy-client.ts"), ws_url, token], {
    env: { PATH: Bun.env["PATH"] ?? "" },
    stdio: ["ignore", "inherit", "inherit"],
    ipc: (told) => answers.shift()?.resolve(told as Told),
  });
  void child.exited.then((code) => {
    for (const answer of answers) answer.reject(new Error(`the healthy client ended with ${code}`));
  });
  return {
    ask(what: Ask["ask"], samples: number): Promise<Told> {
      const answer = Promise.withResolvers<Told>();
      answers.push(answer);
      child.send({ ask: what, samples } satisfies Ask);
      return answer.promise;
    },
    async [Symbol.asyncDispose]() {
      child.kill();
      await child.exited;
    },
  };
}

function readJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Pages and streams are no JSON, which a test sees by the null.
    return null;
  }
}

/** Resolves once it holds. */
export async function until(holds: () => boolean, what: string, timeout_ms = 15_000): Promise<void> {
  const deadline = performance.now() + timeout_ms;
  while (!holds()) {
    if (performance.now() > deadline) throw new Error(`waited ${timeout_ms} ms in vain for ${what}`);
    await Bun.sleep(5);
  }
}

/** Does `work` for each of `count` numbers, `at_once` at a time. */
export async function crowd(
  count: number,
  at_once: number,
  work: (index: number) => Promise<unknown>,
): Promise<void> {
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < count) await work(next++);
  };
  await Promise.all(Array.from({ length: at_once }, worker));
}
