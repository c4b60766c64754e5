import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { agentbus, workplace } from "../support/executable.ts";
import type { RunningGateway } from "../support/gateway-process.ts";
import { startGateway } from "../support/gateway-process.ts";
import { openSocket, requestUpgrade } from "../support/ws-client.ts";

const PASSWORD = "correct hörse battery";
const MIB = 1024 * 1024;
/** What a request beside a flood of logins may take on a small machine that is busy with tests. */
const PROMPT_MS = 500;

function basic(password: string): Record<string, string> {
  return { authorization: `Basic ${Buffer.from(`gateway:${password}`).toString("base64")}` };
}
function bearer(token: string): Record<string, string> {
  return { authorization: `Bearer ${token}` };
}

interface Answer {
  readonly status: number;
  readonly headers: Headers;
  // oxlint-disable-next-line typescript/no-explicit-any -- a test looks wherever it likes
  readonly json: any;
}

async function ask(url: string, headers: Record<string, string> = {}, body?: unknown): Promise<Answer> {
  const json = body === undefined ? {} : { "content-type": "application/json" };
  const response = await fetch(url, {
    method: body === undefined ? "GET" : "POST",
    headers: { ...json, ...headers },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  return { status: response.status, headers: response.headers, json: await response.json() };
}

function logIn(url: string, password: string, headers: Record<string, string> = {}): Promise<Answer> {
  return ask(`${url}/api/v1/auth_sessions`, headers, { password });
}

/** The payload of `connect`, or the error and the close code. */
async function connect(url: string, params: Record<string, unknown>, headers: Record<string, string> = {}) {
  await using socket = await openSocket(url, { headers });
  socket.send({ type: "req", id: "h", method: "connect", params });
  const { json } = await socket.next(() => true);
  return json.ok === true ? json.payload : { ...json.error, close: (await socket.closed).code };
}

function p99(samples: readonly number[]): number {
  return samples.toSorted((a, b) => a - b)[Math.ceil(samples.length * 0.99) - 1] ?? Number.NaN;
}

describe("a gateway in mode password", () => {
  let gateway: RunningGateway;
  beforeAll(async () => {
    const password_hash = await Bun.password.hash(PASSWORD, {
      algorithm: "argon2id",
      memoryCost: 19_456,
      timeCost: 2,
    });
    gateway = await startGateway({ config: { auth: { mode: "password", password_hash } } });
  });
  afterAll(() => gateway[Symbol.asyncDispose]());

  test("takes it wherever a credential is taken", async () => {
    const { auth_info } = await connect(gateway.ws_url, { password: PASSWORD });
    expect(auth_info).toMatchObject({ user: "owner", method: "password" });
    expect(auth_info.scopes).toContain("admin");
    const upgraded = await connect(gateway.ws_url, {}, basic(PASSWORD));
    expect(upgraded.auth_info).toMatchObject({ user: "owner", method: "password" });
    expect((await ask(`${gateway.url}/api/v1/stats`, basic(PASSWORD))).status).toBe(200);
    const login = await logIn(gateway.url, PASSWORD);
    expect(login).toMatchObject({ status: 201, json: { user: "owner" } });
    const { session_token } = login.json;
    expect((await ask(`${gateway.url}/api/v1/stats`, bearer(session_token))).status).toBe(200);
    const again = await connect(gateway.ws_url, { session_token });
    expect(again.auth_info).toMatchObject({ user: "owner", method: "auth_session" });
  });

  test("still takes tokens", async () => {
    expect(await connect(gateway.ws_url, { auth_token: gateway.token })).toHaveProperty("auth_info");
    for (const headers of [bearer(gateway.token), basic(gateway.token)]) {
      expect((await ask(`${gateway.url}/api/v1/stats`, headers)).status).toBe(200);
    }
  });

  test("refuses a wrong one wherever it comes", async () => {
    const error = { code: "UNAUTHORIZED", message: "this password is wrong" };
    expect(await connect(gateway.ws_url, { password: "wrong" })).toMatchObject({ ...error, close: 4001 });
    for (const answer of [
      await logIn(gateway.url, "wrong"),
      await ask(`${gateway.url}/api/v1/stats`, basic("wrong")),
    ]) {
      expect(answer).toMatchObject({ status: 401, json: { error } });
    }
    expect((await requestUpgrade(gateway.ws_url, basic("wrong"))).status).toBe(401);
  });
});

test("in mode token a password reads which mode it is", async () => {
  await using gateway = await startGateway();
  const message = expect.stringContaining('auth.mode is "token"');
  const error = { code: "UNAUTHORIZED", message };
  for (let i = 0; i < 30; i++) {
    expect(await logIn(gateway.url, `wrong ${i}`)).toMatchObject({ status: 401, json: { error } });
  }
  expect(await ask(`${gateway.url}/api/v1/stats`, basic("wrong"))).toMatchObject({
    status: 401,
    json: { error },
  });
  expect(await connect(gateway.ws_url, { password: "wrong" })).toMatchObject({ ...error, close: 4001 });
});

test("in mode multi what the list names is taken", async () => {
  const auth = { mode: "multi", modes: ["token", "password"], password: PASSWORD };
  await using gateway = await startGateway({ config: { auth } });
  expect((await logIn(gateway.url, PASSWORD)).status).toBe(201);
  expect((await ask(`${gateway.url}/api/v1/stats`, bearer(gateway.token))).status).toBe(200);
});

test("mode password without one does not start", async () => {
  using place = workplace();
  const env = { AGENTBUS_AUTH_MODE: "password" };
  expect(await agentbus(["serve", "--port", "0"], { cwd: place.path, env })).toEqual({
    code: 2,
    out: "",
    err:
      'agentbus: AGENTBUS_AUTH_MODE: "password" needs one: ' +
      'run "agentbus password" and set auth.password_hash, or set auth.password\n',
  });
});

describe("two hundred password attempts at once", () => {
  const auth = { mode: "password", password: PASSWORD };
  let gateway: RunningGateway;
  beforeAll(async () => {
    // A proxy that says where each one comes from.
    gateway = await startGateway({ config: { auth, server: { trusted_proxies: ["127.0.0.1"] } } });
  });
  afterAll(() => gateway[Symbol.asyncDispose]());

  /** What they read, with the latencies of a client beside them and the memory that came on top, MiB. */
  async function flood(addressOf: (n: number) => string) {
    const right = bearer(gateway.token);
    await using healthy = await openSocket(gateway.ws_url, { headers: right });
    const before = (await healthy.request("system.stats")).memory_usage;
    let going = true;
    const times: number[] = [];
    let most = before;
    async function live(): Promise<void> {
      while (going || times.length < 100) {
        const began = performance.now();
        const { memory_usage } = await healthy.request("system.stats");
        times.push(performance.now() - began);
        most = Math.max(most, memory_usage);
        await Bun.sleep(1);
      }
    }
    const living = live();
    const answers = await Promise.all(
      Array.from({ length: 200 }, (_, n) =>
        logIn(gateway.url, `guess ${n}`, { "x-forwarded-for": addressOf(n) }),
      ),
    );
    going = false;
    await living;
    const codes = Map.groupBy(answers, ({ status }) => status);
    const count = (status: number): number => codes.get(status)?.length ?? 0;
    return { count, late: p99(times), grown: (most - before) / MIB };
  }

  test("from one address: ten are looked at", async () => {
    const { count, late, grown } = await flood(() => "10.0.0.1");
    expect([count(401), count(429)]).toEqual([10, 190]);
    expect(late).toBeLessThan(PROMPT_MS);
    expect(grown).toBeLessThan(200);
  });

  test("from everywhere: two at a time, few wait, the others come again", async () => {
    const { count, late, grown } = await flood((n) => `10.1.0.${n}`);
    expect(count(401)).toBeGreaterThanOrEqual(18);
    expect(count(401)).toBeLessThanOrEqual(100);
    expect(count(503)).toBeGreaterThan(0);
    expect(count(401) + count(429) + count(503)).toBe(200);
    expect(late).toBeLessThan(PROMPT_MS);
    expect(grown).toBeLessThan(200);
  });

  test("and the token is let in beside it, the password after it", async () => {
    expect((await ask(`${gateway.url}/api/v1/stats`, bearer(gateway.token))).status).toBe(200);
    let answer = await logIn(gateway.url, PASSWORD, { "x-forwarded-for": "10.2.0.1" });
    while (answer.status === 429) {
      await Bun.sleep(answer.json.error.retry_after_ms);
      answer = await logIn(gateway.url, PASSWORD, { "x-forwarded-for": "10.2.0.1" });
    }
    expect(answer.status).toBe(201);
  });
});
