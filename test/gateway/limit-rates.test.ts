import { afterAll, beforeAll, beforeEach, expect, test } from "bun:test";
import { from } from "./limit-rows.ts";
import type { RawSocket } from "./raw-socket.ts";
import { openRaw } from "./raw-socket.ts";
import type { Person, Stack } from "./stack.ts";
import { eventually, startStack } from "./stack.ts";

const BURST = 3;
const OVER_MS = 1_500;

let stack: Stack;
let person: Person;
let made = 0;

/** Made by the administrator at an address of its own each time, who is no faster than others. */
async function somebody(role = "user"): Promise<Person> {
  const body = { name: "somebody", user: `rated-${++made}`, role };
  const { json } = await stack.owner.ask("POST", "/api/v1/rpc/token.create", {
    body,
    headers: from(`10.9.0.${made}`),
  });
  return stack.person(json.token);
}

beforeAll(async () => {
  stack = await startStack({
    config: {
      server: { trusted_proxies: ["127.0.0.1"] },
      limits: { mutations_per_second: 1, mutations_burst: BURST, mutations_over_ms: OVER_MS, in_flight: 500 },
    },
  });
});
beforeEach(async () => {
  person = await somebody();
});
afterAll(() => stack[Symbol.asyncDispose]());

const TOO_FAST = {
  code: "RATE_LIMITED",
  status: 4029,
  details: { kind: "rate", what: "mutations_per_second", limit: 1 },
  retryable: true,
  retry_after_ms: expect.any(Number),
};

let sent = 0;
/** Sends them in one piece; the answers, in the order of the requests. */
async function burst(socket: RawSocket, requests: readonly [method: string, params: object][]) {
  const ids = requests.map(() => `r${++sent}`);
  socket.write(...requests.map(([method, params], i) => ({ type: "req", id: ids[i], method, params })));
  const found = (): (Answered | undefined)[] =>
    ids.map((id) => socket.frames.find((frame) => frame.type === "res" && frame.id === id));
  return (await eventually(found, (all) => all.every((each) => each !== undefined))) as Answered[];
}

interface Answered {
  readonly ok: boolean;
  readonly error: { readonly retry_after_ms: number };
}

function creations(times: number): [string, object][] {
  return Array.from({ length: times }, () => ["session.create", {}]);
}

async function made_sessions(): Promise<number> {
  return (await person.call("session.list")).sessions.length;
}

test("so many at once on a socket, and one more a second; for the others nothing was done", async () => {
  await using socket = await openRaw(stack.gateway.address, person.token);
  const answers = await burst(socket, creations(BURST + 7));
  const refused = answers.filter(({ ok }) => !ok);
  expect(answers.slice(0, BURST).map(({ ok }) => ok)).toEqual(Array(BURST).fill(true));
  expect(refused.length).toBeGreaterThanOrEqual(5);
  const wait_ms = refused.at(-1)?.error.retry_after_ms ?? 0;
  for (const { error } of refused) {
    expect(error.retry_after_ms).toBeWithin(1, 1_001);
    expect(error).toMatchObject(TOO_FAST);
  }
  expect(await made_sessions()).toBe(answers.length - refused.length);
  // What only reads is not concerned, nor is another socket.
  const reads = await burst(
    socket,
    Array.from({ length: 20 }, () => ["session.list", {}]),
  );
  expect(reads.every(({ ok }) => ok)).toBe(true);
  await using other = await openRaw(stack.gateway.address, person.token);
  expect(await burst(other, creations(1))).toMatchObject([{ ok: true }]);
  // Who waits as told is let.
  await Bun.sleep(wait_ms);
  expect(await burst(socket, creations(1))).toMatchObject([{ ok: true }]);
});

test("counted is whatever changes something, by any of its names, and whatever came of it", async () => {
  await using socket = await openRaw(stack.gateway.address, person.token);
  const spent = await burst(socket, [
    ["sessions.create", {}],
    ["chat.abort", { session_id: "nothing" }],
    ["session.create", { no_such: "field" }],
    ["chat.abort", { session_id: "nothing" }],
  ]);
  expect(spent).toMatchObject([
    { ok: true },
    { error: { code: "NOT_FOUND" } },
    { error: { code: "INVALID_REQUEST" } },
    { error: TOO_FAST },
  ]);
  const viewer = await somebody("viewer");
  await using other = await openRaw(stack.gateway.address, viewer.token);
  const forbidden = await burst(other, creations(BURST + 1));
  expect(forbidden).toMatchObject([
    ...Array.from({ length: BURST }, () => ({ error: { code: "FORBIDDEN" } })),
    { error: TOO_FAST },
  ]);
});

test("without a socket it is one credential at one address", async () => {
  const headers = from("10.1.0.1");
  const create = (who: Person, at = headers) =>
    who.ask("POST", "/api/v1/sessions", { body: {}, headers: at });
  const answers = await Promise.all(Array.from({ length: 8 }, () => create(person)));
  const refused = answers.filter(({ status }) => status === 429);
  expect(refused.length).toBeGreaterThanOrEqual(4);
  for (const { json, headers: said } of refused) {
    expect(json.error).toMatchObject(TOO_FAST);
    expect(said.get("retry-after")).toBe("1");
  }
  expect(await made_sessions()).toBe(answers.length - refused.length);
  // By whichever route it comes.
  for (const [verb, path, body] of [
    ["POST", "/api/v1/chat", { message: "x" }],
    ["POST", "/api/v1/rpc/session.create", {}],
    ["DELETE", "/api/v1/sessions/x", undefined],
  ] as const) {
    let status = 0;
    // Another second may have begun.
    while (status !== 429) ({ status } = await person.ask(verb, path, { body, headers }));
  }
  expect((await create(person, from("10.1.0.2"))).status).toBe(201);
  expect((await create(await somebody())).status).toBe(201);
  expect((await person.ask("GET", "/api/v1/sessions", { headers })).status).toBe(200);
});

test("who takes no heed of it for mutations_over_ms is closed with 4029", async () => {
  await using socket = await openRaw(stack.gateway.address, person.token);
  let code: number | null | undefined;
  void socket.closed.then((with_code) => (code = with_code));
  const began = performance.now();
  for (let i = 0; code === undefined; i++) {
    socket.write({ type: "req", id: `f${i}`, method: "session.create", params: {} });
    await Bun.sleep(20);
  }
  expect(code).toBe(4029);
  expect(performance.now() - began).toBeGreaterThanOrEqual(OVER_MS);
  expect(socket.frames.at(-1)).toMatchObject({
    id: null,
    ok: false,
    error: {
      code: "RATE_LIMITED",
      details: { kind: "rate", what: "mutations_over_ms", limit: OVER_MS },
      retry_after_ms: expect.any(Number),
    },
  });
  const { limits } = await stack.owner.call("system.stats");
  expect(limits).toMatchObject({ mutations_over_ms: 1, mutations_per_second: expect.any(Number) });
  const lines = stack.gateway.log.filter(({ limit }) => limit === "mutations_per_second");
  expect(lines.length).toBeLessThanOrEqual(3);
  await using again = await openRaw(stack.gateway.address, person.token);
  expect(await burst(again, creations(1))).toMatchObject([{ ok: true }]);
});

test("who heeds it stays, however much there is to do", async () => {
  await using socket = await openRaw(stack.gateway.address, person.token);
  await burst(socket, creations(BURST));
  const until = performance.now() + 2 * OVER_MS;
  let refusals = 0;
  while (performance.now() < until) {
    const [answer] = await burst(socket, creations(1));
    if (answer?.ok !== false) continue;
    refusals++;
    await Bun.sleep(answer.error.retry_after_ms);
  }
  expect(refusals).toBeGreaterThanOrEqual(2);
  expect(await burst(socket, [["heartbeat", {}]])).toMatchObject([{ ok: true }]);
});
