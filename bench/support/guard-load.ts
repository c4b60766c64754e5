import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { systemClock } from "../../src/clock.ts";
import { loadConfig } from "../../src/config.ts";
import type { Caller } from "../../src/core/call.ts";
import type { Principal } from "../../src/core/principal.ts";
import { construct } from "../../src/gateway.ts";
import { authenticate, guardRequest, guardRoute } from "../../src/transport/rest-guard.ts";
import type { HttpRoute } from "../../src/transport/rest-reply.ts";
import { createMemoryStore } from "../../src/store/memory.ts";
import { silentLog } from "../../test/support/engine.ts";
import type { Spread } from "./numbers.ts";
import { spread } from "./numbers.ts";

export interface GuardResult {
  /** Microseconds of all that is asked of one request before its method runs. */
  readonly guard_us: Spread;
  /** Of the method, for a caller who is known already. */
  readonly dispatch_us: Spread;
}

const TIMES = 50_000;

if (import.meta.main) {
  const { values } = parseArgs({ options: { rounds: { type: "string", default: "5" } } });
  console.log(JSON.stringify({ result: await run(Number(values.rounds)) }));
}

/** A gateway that listens nowhere, and a request as its listener would hand it on. */
async function run(rounds: number): Promise<GuardResult> {
  const data_dir = mkdtempSync(join(tmpdir(), "agentbus-bench-"));
  const env = { AGENTBUS_SERVER_DATA_DIR: data_dir, AGENTBUS_SERVER_PORT: "18789" };
  const { config } = loadConfig({ env, flags: {}, cwd: data_dir });
  const store = createMemoryStore({ clock: systemClock, limits: config.limits });
  const overrides = { store };
  const { engine, credentials, context, ports } = construct({
    config,
    log: silentLog,
    version: "0",
    overrides,
  });
  await engine.recover(await store.open());
  const { token } = await credentials.start();
  ports.push(18_789);
  const request = new Request("http://127.0.0.1:18789/api/v1/rpc/system.status", {
    method: "POST",
    headers: {
      authorization: `Bearer ${token}`,
      host: "127.0.0.1:18789",
      "content-type": "application/json",
    },
  });
  const route = { path: "/api/v1/rpc/:method" } as HttpRoute;
  const ask = async (): Promise<Principal> => {
    const remote = context.doors.remoteOf("127.0.0.1", request.headers);
    const visit = { request, url: new URL(request.url), params: {}, server: null as never, remote };
    guardRequest(context, request);
    guardRoute(context, route, visit);
    return authenticate(context, visit, "rest");
  };
  const principal = await ask();
  const signal = new AbortController().signal;
  const caller: Caller = {
    principal,
    transport: "rest",
    client_id: "bench",
    remote: "127.0.0.1",
    connection: null,
    signal,
  };
  const dispatch = (): Promise<unknown> =>
    new Promise((answer) => context.dispatch(caller, { method: "system.status", params: {} }, answer));
  const [guard_us, dispatch_us]: [number[], number[]] = [[], []];
  for (let round = 0; round < rounds + 1; round++) {
    const [guard, method] = [await time(ask), await time(dispatch)];
    // The first warms up.
    if (round === 0) continue;
    guard_us.push(guard);
    dispatch_us.push(method);
  }
  credentials.close();
  await engine.drain(0);
  await store.close();
  rmSync(data_dir, { recursive: true });
  return { guard_us: spread(guard_us), dispatch_us: spread(dispatch_us) };
}

/** Processor time, as that of a request is measured: it does not grow with what else the machine does. */
async function time(work: () => Promise<unknown>): Promise<number> {
  const start = process.cpuUsage();
  for (let i = 0; i < TIMES; i++) await work();
  const { user, system } = process.cpuUsage(start);
  return (user + system) / TIMES;
}
