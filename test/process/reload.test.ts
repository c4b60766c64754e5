import { expect, test } from "bun:test";
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ended, eventually, startStack } from "../gateway/stack.ts";
import { agentbus, inTerminal, workplace } from "../support/executable.ts";

/** A busy machine may take its time. */
const PATIENCE_MS = 20_000;

test("SIGHUP has everything read again, the file of a key too, while sockets are open and an answer is written", async () => {
  using place = workplace();
  const key = join(place.path, "provider-key");
  writeFileSync(key, "sk-first\n", { mode: 0o600 });
  await using stack = await startStack({ provider: { api_key_file: key } });
  const { gateway, model, owner } = stack;
  await using socket = await owner.connect({});
  model.reply().text("one ").wait(500).text("two");
  const sent = await owner.call("chat.send", { session_id: "hup", message: "hello" });
  await model.waitForRequests(1);
  const events = await owner.events("/api/v1/sessions/hup/events");

  const reload = async (file: string): Promise<void> => {
    const { loaded_at } = (await owner.call("system.status")).configuration;
    writeFileSync(key, file, { mode: 0o600 });
    gateway.kill("SIGHUP");
    await eventually(
      async () => (await owner.call("system.status")).configuration.loaded_at,
      (at) => at > loaded_at,
      PATIENCE_MS,
    );
  };
  await reload("sk-second\n");
  expect((await ended(owner, sent.run_id)).status).toBe("completed");
  model.reply().text("three");
  const next = await owner.call("chat.send", { session_id: "hup", message: "again" });
  expect((await ended(owner, next.run_id)).status).toBe("completed");
  const keys = model.requests.map(({ headers }) => headers["authorization"]);
  expect(keys).toEqual(["Bearer sk-first", "Bearer sk-second"]);
  expect(await socket.request("heartbeat")).toHaveProperty("ts");
  await events.next(({ event, data }) => event === "run.completed" && data.includes(next.run_id));
  events.close();
  expect(JSON.stringify(gateway.log)).not.toMatch(/sk-(?:first|second)/);

  rmSync(key);
  gateway.kill("SIGHUP");
  const [said] = await eventually(
    () => gateway.log.filter(({ msg }) => msg.includes("the last one stays")),
    (lines) => lines.length > 0,
    PATIENCE_MS,
  );
  expect(said).toMatchObject({ level: "error", reason: expect.stringContaining("provider-key") });
  // Once it is there again nobody has to say so.
  await reload("sk-third\n");
  expect((await owner.call("system.status")).configuration).not.toHaveProperty("failure");
});

test("SIGHUP in a terminal reads it again, and once the terminal is gone stops the gateway", async () => {
  using place = workplace();
  place.file("agentbus.toml", '[server]\nport = 0\ndata_dir = "data"\n');
  await using gateway = inTerminal(["serve"], { cwd: place.path });
  await gateway.until("that it listens", (shown) => shown.includes("Ctrl-C stops it"));
  const changed = async (max_turns: number): Promise<void> => {
    place.file("agentbus.toml", `[server]\nport = 0\ndata_dir = "data"\n[agent]\nmax_turns = ${max_turns}\n`);
    process.kill(gateway.pid, "SIGHUP");
    await gateway.until("what changed", (shown) => shown.includes("the configuration has changed"));
  };
  await changed(7);
  const { code, out } = await agentbus(["config", "reload"], { cwd: place.path });
  expect({ code, out }).toEqual({ code: 0, out: "nothing has changed\n" });
  gateway.hangUp();
  expect(await gateway.exited).toBe(0);
});

test("config reload says what changed, what waits, and what is wrong", async () => {
  await using stack = await startStack();
  const { gateway } = stack;
  using place = workplace();
  const target = ["--url", gateway.url];
  const env = { AGENTBUS_TOKEN: gateway.token };
  const toml = await Bun.file(gateway.config_file).text();
  const reload = (more: string, ...flags: string[]) => {
    writeFileSync(gateway.config_file, `${toml}\n${more}\n`);
    return agentbus(["config", "reload", ...target, ...flags], { cwd: place.path, env });
  };
  const some = await reload('[agent]\nmax_turns = 3\n[storage]\ndurability = "normal"');
  expect(some.out).toBe("changed: agent.max_turns\nfrom the next start on: storage.durability\n");
  expect(JSON.parse((await reload("", "--json")).out)).toEqual({
    changed: ["agent.max_turns"],
    restart_needed: [],
  });
  const wrong = await reload("[agent]\nmax_turns = 0");
  expect([wrong.code, wrong.out]).toEqual([1, ""]);
  expect(wrong.err).toContain("agent.max_turns");
  const { out } = await agentbus(["status", ...target], { cwd: place.path, env });
  expect(out).toContain("configuration the last one that was right: agentbus.toml: agent.max_turns");
});
