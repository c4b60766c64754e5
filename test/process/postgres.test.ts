import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { agentbus, workplace } from "../support/executable.ts";
import type { RunningGateway } from "../support/gateway-process.ts";
import { startGateway } from "../support/gateway-process.ts";
import type { ModelServer } from "../support/model-server.ts";
import { startModelServer } from "../support/model-server.ts";
import type { TestDatabase } from "../support/postgres.ts";
import { hasPostgres, testDatabase } from "../support/postgres.ts";
import { call } from "./direct.ts";

/** The shortest lease there may be. */
const LEASE_SECS = 6;
/** What is promised of a take-over, with twice its value: the machine may be busy. */
const TAKEOVER_MS = 40_000;
setDefaultTimeout(120_000);

let model: ModelServer;
let database: TestDatabase;
beforeAll(async () => {
  if (!hasPostgres) return;
  model = await startModelServer();
  database = await testDatabase();
});
afterAll(async () => {
  if (!hasPostgres) return;
  await model.stop();
  await database[Symbol.asyncDispose]();
});

function node(node_id: string): Promise<RunningGateway> {
  return startGateway({
    config: {
      server: { shutdown_grace_secs: 0 },
      storage: { url: database.url, connections: 6 },
      cluster: { lease_secs: LEASE_SECS, node_id },
      llm: { default_provider: "test", default_model: "m", providers: { test: { base_url: model.url() } } },
    },
  });
}

async function until(what: () => Promise<boolean>, ms: number): Promise<number> {
  const began = performance.now();
  while (!(await what())) {
    if (performance.now() - began > ms) throw new Error(`not within ${ms} ms`);
    await Bun.sleep(50);
  }
  return performance.now() - began;
}

describe.skipIf(!hasPostgres)("gateways on one database", () => {
  test("a session is served by one of them, and by the other once that one is gone", async () => {
    await using a = await node("a");
    await using b = await node("b");
    model.reply().text("It was a dark and").hang();
    const sent = await call<{ run_id: string; session_id: string }>(a, "chat.send", {
      session_id: "talk",
      message: "Tell me a story",
    });
    await model.waitForRequests(1);
    const head = async (): Promise<number> =>
      (await call<{ head: number }>(a, "session.get", { session_id: "talk" })).head;
    // The story has begun.
    await until(async () => (await head()) > 4, TAKEOVER_MS);
    expect(await call(b, "run.get", { run_id: sent.run_id })).toMatchObject({ status: "running" });
    const doctor = await agentbus(["doctor", "--json", "--config", "agentbus.toml"], {
      cwd: join(a.data_dir, ".."),
    });
    const { findings } = JSON.parse(doctor.out) as { findings: { check: string; finding: string }[] };
    // That of the tests loses what it acknowledged with the power, and the doctor says so.
    expect(findings.find(({ check }) => check === "database")?.finding).toMatch(/^PostgreSQL \d+/);

    a.kill("SIGKILL");
    const status = async (): Promise<string> =>
      (await call<{ status: string }>(b, "run.get", { run_id: sent.run_id })).status;
    await until(async () => (await status()) === "interrupted", TAKEOVER_MS);
    model.reply().text("Nothing.");
    await call(b, "chat.send", { session_id: "talk", message: "And then?" });
    const history = await call<{ messages: { content: string; status: string }[] }>(b, "chat.history", {
      session_id: "talk",
    });
    expect(history.messages.slice(0, 3)).toMatchObject([
      { content: "Tell me a story" },
      { content: "It was a dark and", status: "partial" },
      { content: "And then?" },
    ]);

    // It comes back at once, and serves what the other has, too.
    await a.restart();
    for (const session_id of ["talk", "other"]) await call(a, "chat.send", { session_id, message: "Hello?" });
  });

  test("the address comes from a file too, and its password is shown nowhere", async () => {
    using place = workplace();
    writeFileSync(join(place.path, "url"), "postgres://nobody:hunter2@127.0.0.1:1/none\n");
    place.file("agentbus.toml", '[server]\ndata_dir = "data"\nport = 0\n[storage]\nurl_file = "url"\n');
    const at = { cwd: place.path };
    const shown = await agentbus(["config", "show"], at);
    expect(shown.out).toContain('url = "***"');
    const started = await agentbus(["serve"], at);
    expect(started.code).toBe(1);
    expect(started.err + started.out).toContain("is it running, and does storage.url name its address?");
    const doctor = await agentbus(["doctor"], at);
    expect(doctor.code).toBe(1);
    expect(doctor.out).toMatch(/✗ database .*\n +→ is it running/);
    const backup = await agentbus(["backup", "copy.db"], at);
    expect(backup).toMatchObject({ code: 1, out: "" });
    expect(backup.err).toContain("pg_dump");
    for (const { out, err } of [shown, started, doctor, backup]) expect(out + err).not.toContain("hunter2");
  });
});
