import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { systemClock } from "../../src/clock.ts";
import { loadConfig } from "../../src/config.ts";
import type { Principal } from "../../src/core/principal.ts";
import { construct } from "../../src/gateway.ts";
import { Exchange } from "../../src/transport/http-exchange.ts";
import { authenticate, guardRequest, guardRoute } from "../../src/transport/rest-guard.ts";
import type { HttpRoute } from "../../src/transport/rest-reply.ts";
import { createMemoryStore } from "../../src/store/memory.ts";
import { silentLog } from "../../test/support/engine.ts";
import type { Spread } from "./numbers.ts";
import { spread } from "./numbers.ts";

export interface GuardResult {
  /** Microseconds of all that is asked of one request before its method runs. */
  readonly guard_us: Spread;
  /** Of what is asked of each request on a socket: whether there is such a method, and whether this caller may. */
  readonly scope_us: Spread;
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
    onFatal: (error) => {
      throw error;
    },
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
    const exchange = new Exchange(context, request, null as never);
    const url = new URL(request.url);
    const visit = { request, url, params: {}, server: null as never, remote, exchange };
    guardRequest(context, request);
    guardRoute(context, route, visit);
    return authenticate(context, visit, "rest");
  };
  const principal = await ask();
  // One method after the other, or the answer would be worked out once for all.
  const names = context.definitions().map(({ name }) => name);
  let asked = 0;
  const may = (): boolean => {
    const definition = context.definition(names[asked++ % names.length] ?? "");
    return definition !== undefined && (definition.scope === null || principal.scopes.has(definition.scope));
  };
  const [guard_us, scope_us]: [number[], number[]] = [[], []];
  for (let round = 0; round < rounds + 1; round++) {
    const [guard, scope] = [await time(ask), timeOf(may)];
    // The first warms up.
    if (round === 0) continue;
    guard_us.push(guard);
    scope_us.push(scope);
  }
  credentials.close();
  await engine.drain(0);
  await store.close();
  rmSync(data_dir, { recursive: true });
  return { guard_us: spread(guard_us), scope_us: spread(scope_us) };
}

/** Processor time, as that of a request is measured: it does not grow with what else the machine does. */
async function time(work: () => Promise<unknown>): Promise<number> {
  const start = process.cpuUsage();
  for (let i = 0; i < TIMES; i++) await work();
  const { user, system } = process.cpuUsage(start);
  return (user + system) / TIMES;
}

function timeOf(work: () => boolean): number {
  const start = process.cpuUsage();
  let right = 0;
  for (let i = 0; i < 20 * TIMES; i++) right += work() ? 1 : 0;
  const { user, system } = process.cpuUsage(start);
  if (right !== 20 * TIMES) throw new Error("the owner may");
  return (user + system) / right;
}
