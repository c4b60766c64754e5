import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import type { Stack } from "./stack.ts";
import { ask, ended, eventually, refusal, runOf, say, startStack, watchRun } from "./stack.ts";

/** How soon a change of the file counts; a machine may be busy. */
const NOTICED_MS = 15_000;

let stack: Stack;
/** The file as it was at the start. */
let original = "";
beforeAll(async () => {
  stack = await startStack({
    config: {
      tools: { builtin: ["time"], policy: { "*": "allow" } },
      agent: { system_prompt: "first" },
      log: { level: "info" },
    },
    provider: { api_key: "sk-one" },
  });
  original = readFileSync(stack.gateway.config_file, "utf8");
});
afterAll(() => stack[Symbol.asyncDispose]());

/** Has the gateway read its file with something else in it, and what `system.reload` answers. */
async function change(edit: (toml: string) => string) {
  writeFileSync(stack.gateway.config_file, edit(original));
  return await stack.owner.call("system.reload");
}

function added(...lines: string[]): (toml: string) => string {
  return (toml) => `${toml}\n${lines.join("\n")}\n`;
}

function replaced(...pairs: [string, string][]): (toml: string) => string {
  return (toml) =>
    pairs.reduce((text, [from, to]) => {
      if (!text.includes(from)) throw new Error(`the file has no ${from}`);
      return text.replace(from, to);
    }, toml);
}

async function restored(): Promise<void> {
  await change((toml) => toml);
}

describe("what counts at once", () => {
  test("the key and the headers of a provider: the next call has them, the one under way goes on", async () => {
    await using socket = await stack.owner.connect();
    stack.model.reply().text("slow ").wait(300).text("end");
    const before = watchRun(socket, "keys");
    await stack.model.waitForRequests(1);
    const { changed } = await change(replaced(["sk-one", "sk-two"]));
    expect(changed).toEqual(["llm.providers.test.api_key"]);
    expect(runOf(await before).status).toBe("completed");
    stack.model.reply().text("after");
    expect((await say(stack.owner, { session_id: "keys", message: "again" })).run.status).toBe("completed");
    const keys = stack.model.requests.slice(-2).map(({ headers }) => headers["authorization"]);
    expect(keys).toEqual(["Bearer sk-one", "Bearer sk-two"]);
    expect(JSON.stringify(stack.gateway.log)).not.toContain("sk-two");
    await restored();
  });

  test("a system prompt: a run that was accepted keeps its own", async () => {
    stack.model.reply().tool("time", {});
    stack.model.reply().wait(300).text("told");
    const asked = stack.model.requests.length;
    const sent = await stack.owner.call("chat.send", { session_id: "prompts", message: "hello" });
    await stack.model.waitForRequests(asked + 1);
    expect((await change(replaced(['"first"', '"second"']))).changed).toEqual(["agent.system_prompt"]);
    expect((await ended(stack.owner, sent.run_id)).status).toBe("completed");
    stack.model.reply().text("next");
    await say(stack.owner, { session_id: "prompts", message: "again" });
    const prompts = stack.model.requests.slice(-3).map(({ body }) => body.messages[0].content);
    expect(prompts).toEqual(["first", "first", "second"]);
    await restored();
  });

  test("limits, prices, budgets, what is done while a session answers, logins", async () => {
    const { changed, restart_needed } = await change(
      added(
        "[gateway]",
        "heartbeat_interval_secs = 7",
        "[auth]",
        "session_ttl_secs = 120",
        "[budgets]",
        "day_tokens = 1",
        "[llm.providers.test.prices]",
        '"*" = { input = 1, output = 1_000_000 }',
      ),
    );
    expect(changed.toSorted()).toEqual([
      "auth.session_ttl_secs",
      "budgets.day_tokens",
      "gateway.heartbeat_interval_secs",
      "llm.providers.test.prices",
    ]);
    expect(restart_needed).toEqual([]);
    const bob = await stack.guest({ user: "bob", role: "user" });
    stack.model.reply().text("x").usage({ prompt_tokens: 0, completion_tokens: 2 });
    const { run } = await say(bob, { session_id: "priced", message: "hi" });
    expect(run.usage.cost).toBe(2_000_000_000);
    expect(await refusal(bob.call("chat.send", { session_id: "priced", message: "more" }))).toMatchObject({
      code: "CONFLICT",
    });
    await using socket = await stack.owner.connect();
    const { policy } = await socket.request("connect", {});
    expect(policy.heartbeat_interval).toBe(7);
    const made = await stack.owner.call("auth_session.create");
    expect(made.expires_at - Date.now()).toBeLessThanOrEqual(120_000);
    await restored();
  });

  test("bounds of what may be said, in the store's own thread, too", async () => {
    expect(
      (await change(replaced(["[limits]\n", "[limits]\nmessage_bytes = 4\nsessions_per_user = 1\n"])))
        .changed,
    ).toEqual(["limits.message_bytes", "limits.sessions_per_user"]);
    const carol = await stack.guest({ user: "carol", role: "user" });
    expect(await refusal(carol.call("chat.send", { session_id: "a", message: "hello" }))).toMatchObject({
      code: "TOO_LARGE",
    });
    await carol.call("session.create", { session_id: "a" });
    expect(await refusal(carol.call("session.create", { session_id: "b" }))).toMatchObject({
      details: { kind: "full", what: "sessions_per_user" },
    });
    await restored();
    await carol.call("session.create", { session_id: "b" });
  });

  test("how many runs there may be, in the metrics, too", async () => {
    const prompt = 'system_prompt = "first"';
    await change(replaced([prompt, `${prompt}\nmax_concurrent_runs = 7`]));
    expect((await stack.owner.ask("GET", "/metrics")).text).toContain("agentbus_runs_max 7\n");
    await restored();
  });

  test("tools, and who may call them", async () => {
    const names = async () =>
      (await stack.owner.call("tool.list")).tools.map(({ name, policy }: Record<string, string>) => [
        name,
        policy,
      ]);
    expect(await names()).toEqual([["time", "allow"]]);
    const { changed } = await change(
      replaced(['builtin = ["time"]', 'builtin = ["time", "http_fetch"]'], ['"*" = "allow"', '"*" = "deny"']),
    );
    expect(changed).toEqual(["tools.builtin", "tools.policy"]);
    expect(await names()).toEqual([
      ["time", "deny"],
      ["http_fetch", "deny"],
    ]);
    await restored();
  });

  test("origins", async () => {
    const from = (origin: string) =>
      ask(`${stack.gateway.url}/api/v1/status`, "GET", { headers: { origin } }).then(({ headers }) =>
        headers.get("access-control-allow-origin"),
      );
    expect(await from("https://page.example")).toBeNull();
    await change(replaced(["[server]\n", '[server]\nallowed_origins = ["https://page.example"]\n']));
    expect(await from("https://page.example")).toBe("https://page.example");
    await restored();
    expect(await from("https://page.example")).toBeNull();
  });

  test("the token: what came in by another one ends, everybody else stays", async () => {
    const [one, two] = ["first-token-of-the-file", "second-token-of-the-file"];
    await change(added("[auth]", `token = "${one}"`));
    await using stays = await stack.owner.connect({});
    await using goes = await stack.person(one).connect({});
    await change(added("[auth]", `token = "${two}"`));
    await goes.closed;
    expect(await refusal(stack.person(one).call("system.status"))).toMatchObject({ code: "UNAUTHORIZED" });
    expect(await stack.person(two).call("heartbeat")).toHaveProperty("ts");
    expect(await stays.request("heartbeat")).toHaveProperty("ts");
    await restored();
    expect(await refusal(stack.person(two).call("system.status"))).toMatchObject({ code: "UNAUTHORIZED" });
  });
});

describe("what does not", () => {
  test("an option that needs a restart keeps its value and is named, until it is what it was", async () => {
    const reloaded = await change((toml) =>
      added("[storage]", 'durability = "normal"')(replaced(['"first"', '"third"'])(toml)),
    );
    expect(reloaded).toEqual({ changed: ["agent.system_prompt"], restart_needed: ["storage.durability"] });
    expect((await stack.owner.call("system.status")).configuration.restart_needed).toEqual([
      "storage.durability",
    ]);
    await restored();
    expect((await stack.owner.call("system.status")).configuration.restart_needed).toEqual([]);
  });

  test("more runs at once than the process has requests for wait for a restart, fewer do not", async () => {
    const runs = (most: number) => replaced(["[agent]\n", `[agent]\nmax_concurrent_runs = ${most}\n`]);
    const option = "agent.max_concurrent_runs";
    expect(await change(runs(201))).toEqual({ changed: [], restart_needed: [option] });
    expect(await change(runs(200))).toEqual({ changed: [option], restart_needed: [] });
    await restored();
  });

  test("a file that is broken changes nothing, and is said once", async () => {
    const before = (await stack.owner.call("system.status")).configuration;
    const broken = added("[agent]", "max_turns = 3");
    for (let i = 0; i < 2; i++) {
      expect(await refusal(change(broken))).toMatchObject({
        code: "INVALID_REQUEST",
        details: { kind: "configuration" },
      });
    }
    const now = (await stack.owner.call("system.status")).configuration;
    expect(now).toMatchObject({
      hash: before.hash,
      failure: { reason: expect.stringContaining("agentbus.toml") },
    });
    const said = stack.gateway.log.filter(({ msg }) => msg.includes("the last one stays"));
    expect(said).toHaveLength(1);
    await restored();
    expect((await stack.owner.call("system.status")).configuration).not.toHaveProperty("failure");
  });

  test("one wrong value among right ones: none of them counts", async () => {
    const edit = replaced(['"first"', '"half"'], ["[limits]\n", "[limits]\nmessage_bytes = 999_999_999\n"]);
    expect(await refusal(change(edit))).toMatchObject({
      message: expect.stringContaining("message_bytes < frame_bytes"),
    });
    expect(
      await refusal(change(replaced(['"first"', '"half"'], ['"*" = "allow"', '"*" = "sometimes"']))),
    ).toMatchObject({
      message: expect.stringContaining("tools.policy"),
    });
    stack.model.reply().text("x");
    await say(stack.owner, { session_id: "none-of-it", message: "hi" });
    expect(stack.model.requests.at(-1)?.body.messages[0].content).toBe("first");
    await restored();
  });

  test("only an administrator has it read again", async () => {
    const operator = await stack.guest({ user: "op", role: "operator" });
    expect(await refusal(operator.call("system.reload"))).toMatchObject({ code: "FORBIDDEN" });
  });
});

describe("by itself", () => {
  const prompt = async (session_id: string) => {
    stack.model.reply().text("x");
    await say(stack.owner, { session_id, message: "hi" });
    return stack.model.requests.at(-1)?.body.messages[0].content;
  };
  const loadedAfter = async (at: number) =>
    eventually(
      async () => (await stack.owner.call("system.status")).configuration,
      ({ loaded_at }) => loaded_at > at,
      NOTICED_MS,
    );

  test("when the file is written, and when another is renamed into its place", async () => {
    await using socket = await stack.owner.connect({});
    const { loaded_at: first } = (await stack.owner.call("system.status")).configuration;
    writeFileSync(stack.gateway.config_file, original.replace('"first"', '"written"'));
    const { loaded_at: second } = await loadedAfter(first);
    expect(await prompt("by-itself")).toBe("written");
    writeFileSync(`${stack.gateway.config_file}~`, original.replace('"first"', '"renamed"'));
    renameSync(`${stack.gateway.config_file}~`, stack.gateway.config_file);
    await loadedAfter(second);
    expect(await prompt("by-itself")).toBe("renamed");
    expect(await socket.request("heartbeat")).toHaveProperty("ts");
    await restored();
  });

  test("the audit trail has what changed by name, and who asked for it", async () => {
    await change(replaced(["sk-one", "sk-three"]));
    const details = { options: ["llm.providers.test.api_key"], count: 1 };
    await eventually(
      async () => (await stack.owner.call("audit.list", { action: "config.change", limit: 1 })).entries[0],
      (entry) => Bun.deepEquals(entry.details, details),
    );
    expect(
      (await stack.owner.call("audit.list", { action: "system.reload", limit: 1 })).entries[0].user,
    ).toBe("owner");
    await restored();
  });
});
