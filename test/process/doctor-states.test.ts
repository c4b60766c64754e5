import { expect, test } from "bun:test";
import { mkdirSync, readFileSync, renameSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { checkSecrets } from "../../src/cli/doctor-secrets.ts";
import { loadConfig } from "../../src/config.ts";
import { agentbus, serve } from "../support/executable.ts";
import { BASE, gatewayPlace, of } from "./doctor.fixture.ts";

test("a gateway with too little room on its disk is degraded, says why, and answers", async () => {
  using place = gatewayPlace(`${BASE}[storage]\nmin_free_bytes = ${Number.MAX_SAFE_INTEGER}\n`);
  await using gateway = await serve(place.path, []);
  const run = (...argv: string[]) => agentbus(argv, { cwd: place.path });
  const reason = expect.stringContaining("MiB free in server.data_dir, storage.min_free_bytes is");
  const status = await run("status");
  expect(status.code).toBe(1);
  expect(status.out).toMatch(/: degraded\n/);
  expect(status.out).toMatch(/storage +sqlite, \d+ MiB free in server\.data_dir, storage\.min_free_bytes is/);
  // What a container is asked for its health: whether it answers.
  const called = await run("call", "system.status");
  expect([called.code, JSON.parse(called.out)]).toMatchObject([
    0,
    { status: "degraded", storage: { ok: true, reason } },
  ]);
  expect(await (await fetch(`${gateway.url}/status`)).json()).toMatchObject({ status: "degraded" });
  expect((await fetch(`${gateway.url}/ready`)).status).toBe(503);
  const { findings } = await place.doctor();
  expect(of(findings, "gateway")).toMatchObject({ state: "warning", finding: reason });
});

test.skipIf(process.platform !== "linux")(
  "what a gateway that was killed left behind is not taken for the process that has its pid now",
  async () => {
    using place = gatewayPlace();
    const gateway = await serve(place.path, []);
    await gateway[Symbol.asyncDispose]();
    const file = join(place.data, "gateway.json");
    const left = JSON.parse(readFileSync(file, "utf8"));
    writeFileSync(file, JSON.stringify({ ...left, pid: process.pid }));
    const { code, findings } = await place.doctor();
    expect(code).toBe(0);
    expect(of(findings, "gateway")?.finding).toBe("not running; agentbus serve starts it");
    expect(of(findings, "port")?.finding).toBe("any free one");
  },
);

test("secrets of hooks and webhooks that the key cannot open, as after a backup was restored elsewhere", async () => {
  using place = gatewayPlace();
  const run = async (...argv: string[]) =>
    expect(await agentbus(argv, { cwd: place.path })).toMatchObject({ code: 0 });
  await run("hook", "create", "ci", "--session", "builds");
  await run("webhook", "create", "https://hooks.example.com/in", "run.completed", "--name", "out");
  const { config } = loadConfig({ env: {}, cwd: place.path });
  const finding = "all 2 of hooks and webhooks can be opened";
  const good = [{ check: "secrets", state: "ok", finding } as const];
  expect(checkSecrets(config)).toEqual(good);
  const key = join(place.data, "secrets.key");
  renameSync(key, `${key}.old`);
  const { code, findings } = await place.doctor();
  expect(code).toBe(1);
  expect(of(findings, "secrets")).toMatchObject({
    state: "failed",
    finding: expect.stringMatching(/the secrets of hook ci, webhook out cannot be opened: there is no /),
    advice: expect.stringContaining("agentbus webhook rotate NAME"),
  });
  // Nothing was made by looking.
  expect(() => readFileSync(key)).toThrow("ENOENT");
  writeFileSync(key, "another\n", { mode: 0o600 });
  expect(checkSecrets(config)[0]?.finding).toContain("another key than");
  renameSync(`${key}.old`, key);
  expect(checkSecrets(config)).toEqual(good);
});

test("a directory for backups that is not there, one of skills that leads nowhere, a short token", async () => {
  using place = gatewayPlace(
    `${BASE}[auth]\ntoken = "short-one"\n[backup]\ndirectory = "backups"\n[skills]\ndirectories = ["loop"]\n`,
  );
  symlinkSync("loop", join(place.path, "loop"));
  const { code, findings } = await place.doctor();
  expect(code).toBe(1);
  expect(of(findings, "configuration")).toMatchObject({
    state: "warning",
    advice: expect.stringContaining("agentbus.toml"),
  });
  expect(of(findings, "skills")).toMatchObject({
    state: "warning",
    finding: expect.stringContaining("ELOOP"),
  });
  expect(of(findings, "backup")).toMatchObject({ state: "failed", advice: expect.stringContaining("mount") });
  mkdirSync(join(place.path, "backups"));
  expect(of((await place.doctor()).findings, "backup")).toBeUndefined();
});
