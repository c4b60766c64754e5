import type { Bench, Figure } from "./support/bench.ts";
import { pause } from "./support/clock.ts";
import type { GatewayProcess } from "./support/gateway.ts";
import type { GuardResult } from "./support/guard-load.ts";
import type { Door } from "./support/knock.ts";
import { addressOf, doorOf, knock, requestText, upgradeText } from "./support/knock.ts";
import type { Key } from "./support/login-key.ts";
import { newKey } from "./support/login-key.ts";
import type { Quantiles } from "./support/numbers.ts";
import { ms, quantiles, round, spread, withRange } from "./support/numbers.ts";
import { cpuSeconds } from "./support/process.ts";
import { openRpc, pool } from "./support/rpc.ts";

const PASSWORD = "a password of the bench's own";
const AT_ONCE = 16;
const AIM_BESIDE = 2;
const AIM_GUARD = 0.05;

/** Logins a second, what others notice of those that are wrong, and what asking who calls costs a request. */
export async function logins(bench: Bench): Promise<Figure[]> {
  const env = {
    AGENTBUS_AUTH_MODE: "multi",
    AGENTBUS_AUTH_MODES: "token,password,device",
    AGENTBUS_AUTH_PASSWORD: PASSWORD,
    AGENTBUS_LIMITS_TICKETS: "100000",
    AGENTBUS_LIMITS_TICKETS_PER_USER: "100000",
    AGENTBUS_LIMITS_MAX_UNAUTHENTICATED_PER_ADDRESS: "256",
    AGENTBUS_LIMITS_CHALLENGES_PER_ADDRESS: "10000",
  };
  await using gateway = await bench.gateway({ env });
  return [
    ...(await perSecond(bench, gateway)),
    ...(await beside(bench, gateway)),
    ...(await guard(bench, gateway)),
  ];
}

/** One login, from the first packet to the answer; the n-th of its kind. */
type Login = (n: number) => Promise<void>;

async function perSecond(bench: Bench, gateway: GatewayProcess): Promise<Figure[]> {
  const rpc = await openRpc(gateway.socketUrl, gateway.token);
  const key = newKey();
  await rpc.request("device.register", { public_key: key.public_key, user: "owner", scopes: ["chat.read"] });
  const { session_token } = await rpc.request<{ session_token: string }>("auth_session.create", {});
  const tickets: string[] = [];
  const count = bench.pick(2_000, 500);
  for (let i = 0; i < 4 * count; i++) {
    tickets.push((await rpc.request<{ ticket: string }>("ticket.create", {})).ticket);
  }
  rpc.close();
  const door = doorOf(gateway.url);
  const methods: [string, number, Login][] = [
    ["token", count, () => byConnect(door, { auth_token: gateway.token })],
    ["session_token", count, () => byConnect(door, { session_token })],
    ["ticket", count, () => byTicket(door, tickets.pop() ?? "")],
    ["device", count, () => byDevice(door, key)],
    ["password, known again", count, () => byConnect(door, { password: PASSWORD })],
    // At an address where it was not shown before, it is hashed.
    ["password, hashed", bench.pick(200, 40), (n) => byConnect(door, { password: PASSWORD }, addressOf(n))],
  ];
  const figures: Figure[] = [];
  let shown = 0;
  for (const [name, times, login] of methods) {
    const rates: number[] = [];
    const latencies: number[] = [];
    const at_once = name.endsWith("hashed") ? 2 : AT_ONCE;
    for (let round_ = 0; round_ < bench.pick(3, 1); round_++) {
      const began = performance.now();
      await pool(times, at_once, async () => {
        const start = performance.now();
        await login(++shown);
        latencies.push(performance.now() - start);
      });
      rates.push((times * 1_000) / (performance.now() - began));
    }
    const { p50, p99 } = quantiles(latencies);
    figures.push({
      what: `logins over a socket by ${name}, ${at_once} at a time`,
      figure: `${withRange(spread(rates), "/s")}, p50 ${ms(p50)}, p99 ${ms(p99)}`,
      data: { rates, p50, p99 },
    });
  }
  return figures;
}

async function byConnect(door: Door, credential: object, from?: string): Promise<void> {
  const peer = await knock(door, from);
  peer.write(upgradeText(door, []));
  await peer.answer();
  peer.send(JSON.stringify({ type: "req", id: "h", method: "connect", params: credential }));
  // In this mode the challenge comes first.
  await peer.frame();
  welcomed(await peer.frame());
  peer.leave();
}

async function byTicket(door: Door, ticket: string): Promise<void> {
  const peer = await knock(door);
  peer.write(upgradeText(door, [`Sec-WebSocket-Protocol: agentbus.v1, agentbus.ticket.${ticket}`]));
  const { status, body } = await peer.answer();
  if (status !== 101) throw new Error(`${status} ${body}`);
  peer.leave();
}

async function byDevice(door: Door, key: Key): Promise<void> {
  const peer = await knock(door);
  peer.write(upgradeText(door, []));
  await peer.answer();
  const challenge = JSON.parse((await peer.frame()) ?? "{}") as {
    payload: { nonce: string; server_id: string };
  };
  const params = { client_id: "bench", device: key.prove(challenge.payload, "bench") };
  peer.send(JSON.stringify({ type: "req", id: "h", method: "connect", params }));
  welcomed(await peer.frame());
  peer.leave();
}

function welcomed(text: string | null): void {
  if (text?.includes('"ok":true') !== true) throw new Error(`not let in: ${text?.slice(0, 300)}`);
}

/** Each from an address of its own. */
const WRONG_PASSWORDS = { lanes: 200, at_once: 200, per_second: 200 };
/** Of one address so many are verified. */
const FORGERIES = 10;
/** 2,000 signatures a second. */
const FORGERS = { lanes: 32, at_once: 1, per_second: 2_000 / FORGERIES };

interface Noticed {
  readonly loop: Quantiles;
  readonly client: Quantiles;
}

/** What a client that is let in notices while others are not. */
async function beside(bench: Bench, gateway: GatewayProcess): Promise<Figure[]> {
  const door = doorOf(gateway.url);
  const for_ms = bench.pick(5_000, 1_500);
  const idle = await notice(gateway, for_ms);
  const key = newKey();
  const rpc = await openRpc(gateway.socketUrl, gateway.token);
  await rpc.request("device.register", { public_key: key.public_key, user: "owner", scopes: ["chat.read"] });
  rpc.close();
  const passwords = attack(WRONG_PASSWORDS, (n) => wrongPassword(door, n));
  const flooded = await notice(gateway, for_ms);
  await passwords();
  const forger = new Forger(door, key);
  const signatures = attack(FORGERS, (n) => forger.forge(n));
  const forged = await notice(gateway, for_ms);
  const tries = await signatures();
  return [
    ...figuresOf(`${WRONG_PASSWORDS.at_once} attempts with a password at once, every second`, idle, flooded),
    ...figuresOf(`${rate(tries * FORGERIES, for_ms)} forged signatures of a device`, idle, forged),
  ];
}

function rate(count: number, for_ms: number): string {
  return `${round((count * 1_000) / for_ms)}/s`;
}

function figuresOf(what: string, idle: Noticed, during: Noticed): Figure[] {
  return (["loop", "client"] as const).map((of) => {
    const [before, now] = [idle[of], during[of]];
    const times = now.p99 / before.p99;
    return {
      what: `${of === "loop" ? "event loop" : "a healthy client's system.status"} beside ${what}`,
      figure: `p50 ${ms(now.p50)}, p99 ${ms(now.p99)}; idle ${ms(before.p50)}, ${ms(before.p99)}: ${times.toFixed(1)}×`,
      aim: `p99 < ${AIM_BESIDE}× idle`,
      held: times < AIM_BESIDE,
      data: { idle: before, during: now },
    };
  });
}

/** Asks again and again, with pauses; `heartbeat` is answered by the loop alone. */
async function notice(gateway: GatewayProcess, for_ms: number): Promise<Noticed> {
  const rpc = await openRpc(gateway.socketUrl, gateway.token);
  const [loop, client]: [number[], number[]] = [[], []];
  const end = performance.now() + for_ms;
  while (performance.now() < end) {
    for (const [method, took] of [
      ["heartbeat", loop],
      ["system.status", client],
    ] as const) {
      const start = performance.now();
      await rpc.request(method, {});
      took.push(performance.now() - start);
    }
    await pause(2);
  }
  rpc.close();
  return { loop: quantiles(loop), client: quantiles(client) };
}

/** Goes on until it is called: then it ends, and tells how often it was done. So many begin at once, whenever they are due. */
function attack(
  load: { readonly lanes: number; readonly at_once: number; readonly per_second: number },
  work: (n: number) => Promise<void>,
): () => Promise<number> {
  const { lanes, at_once, per_second } = load;
  let going = true;
  let done = 0;
  let begun = 0;
  const start = performance.now();
  const lane = async (): Promise<void> => {
    while (going) {
      const n = begun++;
      await pause(start + (Math.floor(n / at_once) * at_once * 1_000) / per_second - performance.now());
      if (!going) return;
      await work(n);
      done++;
    }
  };
  const all = Promise.all(Array.from({ length: lanes }, () => lane()));
  return async () => {
    going = false;
    await all;
    return done;
  };
}

async function wrongPassword(door: Door, n: number): Promise<void> {
  const peer = await knock(door, addressOf(10_000 + (n % 200)));
  const body = JSON.stringify({ password: `wrong ${n}` });
  peer.write(requestText(door, "POST /api/v1/auth_sessions", [], body));
  const { status } = await peer.answer();
  peer.leave();
  if (![401, 429, 503].includes(status)) throw new Error(`a wrong password was answered with ${status}`);
}

/** Signatures of another key under that of a device, over a fresh nonce each, from ever new addresses. */
class Forger {
  readonly #door: Door;
  readonly #device: object;

  constructor(door: Door, { device_id, public_key }: Key) {
    this.#door = door;
    // Made once: what it was made over is of no concern to who finds that it is wrong.
    this.#device = { ...newKey().prove({ nonce: "", server_id: "" }, "bench"), device_id, public_key };
  }

  async forge(n: number): Promise<void> {
    const peer = await knock(this.#door, addressOf(20_000 + (n % 30_000)));
    for (let i = 0; i < FORGERIES; i++) {
      peer.write(requestText(this.#door, "POST /api/v1/challenges", []));
      const { nonce } = JSON.parse((await peer.answer()).body) as { nonce: string };
      const device = { ...this.#device, nonce, timestamp: Date.now() };
      const login = JSON.stringify({ client_id: "bench", device });
      peer.write(requestText(this.#door, "POST /api/v1/auth_sessions", [], login));
      const { status, body } = await peer.answer();
      // Whichever it is told, it was verified.
      if (status !== 401 && status !== 429)
        throw new Error(`a forged signature was answered with ${status} ${body}`);
    }
    peer.leave();
  }
}

/** What is asked of a request before its method runs, against all the processor time the request takes. */
async function guard(bench: Bench, gateway: GatewayProcess): Promise<Figure[]> {
  const { guard_us, scope_us } = await bench.script<GuardResult>("guard-load.ts", [
    `--rounds=${bench.pick(9, 3)}`,
  ]);
  const count = bench.pick(40_000, 8_000);
  const headers = { authorization: `Bearer ${gateway.token}`, "content-type": "application/json" };
  const url = `${gateway.url}/api/v1/rpc/system.status`;
  const rest = await cpuOf(gateway, count, async () => {
    const response = await fetch(url, { method: "POST", headers, body: "{}" });
    await response.arrayBuffer();
    if (response.status !== 200) throw new Error(`system.status was answered with ${response.status}`);
  });
  const rpc = await openRpc(gateway.socketUrl, gateway.token);
  const socket = await cpuOf(gateway, count, () => rpc.request("system.status", {}));
  rpc.close();
  const figure = (what: string, us: number, all_us: number): Figure => ({
    what,
    figure: `${round(us)} of ${round(all_us)} µs: ${((us / all_us) * 100).toFixed(1)} %`,
    aim: `< ${AIM_GUARD * 100} %`,
    held: us / all_us < AIM_GUARD,
    data: { guard_us, scope_us, us, all_us },
  });
  return [
    figure("whether a caller may: of a system.status over a socket", scope_us.median, socket),
    figure("who calls, and from where: of a system.status over REST", guard_us.median, rest),
  ];
}

/** Processor time of the gateway, microseconds each. */
async function cpuOf(gateway: GatewayProcess, count: number, work: () => Promise<unknown>): Promise<number> {
  await pool(count / 4, AT_ONCE, work);
  const cpu = cpuSeconds(gateway.pid);
  await pool(count, AT_ONCE, work);
  return ((cpuSeconds(gateway.pid) - cpu) * 1e6) / count;
}
