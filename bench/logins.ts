import type { Bench, Figure } from "./support/bench.ts";
import { pause } from "./support/clock.ts";
import type { Load } from "./support/attack.ts";
import { attack, Forger, FORGERIES, harmless, wrongPassword } from "./support/attack.ts";
import type { GatewayProcess } from "./support/gateway.ts";
import type { GuardResult } from "./support/guard-load.ts";
import type { Door } from "./support/knock.ts";
import { addressOf, doorOf, knock, upgradeText } from "./support/knock.ts";
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
  const during = async (load: Load, work: (n: number) => Promise<void>): Promise<Noticed> => {
    const end = attack(load, work);
    const noticed = await notice(gateway, for_ms);
    const times = await end();
    if (times < (0.7 * load.per_second * for_ms) / 1_000)
      bench.say(`only ${times} attacks: the machine is too busy`);
    return noticed;
  };
  const forger = new Forger(door, key);
  // As many requests over as many sockets that ask for nothing: what is more than with those is the attack's.
  const passwords = {
    idle,
    harmless: await during(WRONG_PASSWORDS, (n) => harmless(door, n, 1)),
    attacked: await during(WRONG_PASSWORDS, (n) => wrongPassword(door, n)),
  };
  const signatures = {
    idle,
    harmless: await during(FORGERS, (n) => harmless(door, n, 2 * FORGERIES)),
    attacked: await during(FORGERS, (n) => forger.forge(n)),
  };
  return [
    ...figuresOf(`${WRONG_PASSWORDS.at_once} attempts with a password at once, every second`, passwords),
    ...figuresOf(`${FORGERS.per_second * FORGERIES} forged signatures of a device a second`, signatures),
  ];
}

function figuresOf(
  what: string,
  all: { readonly [of in "idle" | "harmless" | "attacked"]: Noticed },
): Figure[] {
  return (["loop", "client"] as const).map((of) => {
    const [idle, harmless, now] = [all.idle[of], all.harmless[of], all.attacked[of]];
    const times = now.p99 / idle.p99;
    return {
      what: `${of === "loop" ? "event loop" : "a healthy client's system.status"} beside ${what}`,
      figure: `p50 ${ms(now.p50)}, p99 ${ms(now.p99)}; idle ${ms(idle.p50)}, ${ms(idle.p99)}: ${times.toFixed(1)}×`,
      against: `as many requests of /health: p50 ${ms(harmless.p50)}, p99 ${ms(harmless.p99)}`,
      aim: `p99 < ${AIM_BESIDE}× idle`,
      held: times < AIM_BESIDE,
      data: { idle, harmless, attacked: now },
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
