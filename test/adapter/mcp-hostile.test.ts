import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { systemClock } from "../../src/clock.ts";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import type { ToolOutcome, Toolbox } from "../../src/core/ports.ts";
import { createPolicy } from "../../src/tool/policy.ts";
import { createToolbox } from "../../src/tool/registry.ts";
import { silentLog } from "../support/engine.ts";
import type { Scene } from "./mcp.fixture.ts";
import { HOSTILE, closesServers, open, stdio, until } from "./mcp.fixture.ts";

setDefaultTimeout(40_000);
closesServers();

const hostile = (how: string): Scene => open(stdio("bad", HOSTILE, how));

function toolboxOf({ servers }: Scene): Toolbox {
  return createToolbox({
    sources: [servers],
    policy: createPolicy({ "*": "allow" }),
    timeout_ms: 500,
    limits: DEFAULT_LIMITS,
    clock: systemClock,
    log: silentLog,
  });
}

/** A call as a run makes it. */
async function make(toolbox: Toolbox, name: string, args: unknown = {}): Promise<ToolOutcome> {
  const call = { tool_call_id: "c", name, arguments: JSON.stringify(args) };
  const ruling = toolbox.rule(call, new Set());
  if (ruling.kind === "refuse") return { ok: false, content: ruling.content };
  const signal = new AbortController().signal;
  return toolbox.call(call, ruling.args, { signal, session_id: "s", run_id: "r" });
}

/** How long the thread was kept busy at most while something was done. */
async function longestBlock(work: () => Promise<unknown>): Promise<number> {
  let last = performance.now();
  let longest = 0;
  const timer = setInterval(() => {
    longest = Math.max(longest, performance.now() - last);
    last = performance.now();
  }, 1);
  await work();
  await Bun.sleep(5);
  clearInterval(timer);
  return longest;
}

describe("a hostile tool server", () => {
  test.each(["huge-line", "flood", "pings"])(
    "one that floods is ended, and the thread stays free: %s",
    async (how) => {
      const scene = hostile(how);
      await scene.ready("bad");
      const block = await longestBlock(async () => {
        await expect(scene.call("bad.go")).rejects.toThrow(/effect is unknown/);
      });
      expect(block).toBeLessThan(2_000);
      const gone = scene.log.find(({ msg }) => msg.startsWith("a tool server is gone"));
      expect(String(gone?.["reason"])).toMatch(
        /^it sent (?:a message of )?more than|^it sent a message of more than/,
      );
    },
  );

  test("lines that are no messages are passed over", async () => {
    const scene = hostile("no-json");
    await scene.ready("bad");
    expect(await scene.call("bad.go")).toBe("after all");
    expect(scene.log.filter(({ msg }) => msg.includes("does not fit"))).toHaveLength(1);
  });

  test("answers to nothing, and a second one, are passed over", async () => {
    const scene = hostile("wrong-ids");
    await scene.ready("bad");
    expect(await scene.call("bad.go")).toBe("right");
    expect(scene.state("bad")).toMatchObject({ state: "ready" });
  });

  test("what one says last is heard", async () => {
    const scene = hostile("last-words");
    await scene.ready("bad");
    expect(await scene.call("bad.go")).toBe("farewell");
  });

  test("one that can say nothing any more is ended", async () => {
    const scene = open({ ...stdio("mute", ""), command: "sh", args: ["-c", "exec >&-; sleep 1000"] });
    await until(() => scene.state("mute")?.state === "failed", "the end");
    expect(scene.state("mute")?.reason).toBe("it closed its standard output");
  });

  test("a result that is none, or nests without end, is a failure of the call alone", async () => {
    const scene = open(stdio("bad", HOSTILE, "no-result"), stdio("deep", HOSTILE, "deep-result"));
    await Promise.all([scene.ready("bad"), scene.ready("deep")]);
    const toolbox = toolboxOf(scene);
    expect(await make(toolbox, "bad.go")).toEqual({
      ok: false,
      content: "the tool server answered with something that is no result",
    });
    expect(await make(toolbox, "deep.go")).toMatchObject({ content: expect.any(String) });
    expect(scene.state("bad")).toMatchObject({ state: "ready" });
  });

  test("one that never answers is given up in time", async () => {
    const scene = hostile("hangs");
    await scene.ready("bad");
    expect(await make(toolboxOf(scene), "bad.go")).toEqual({
      ok: false,
      content: "bad.go took longer than 500 ms",
    });
  });

  test("one that never introduces itself, or ends at once, stops nothing", async () => {
    const scene = open(stdio("deaf", HOSTILE, "deaf"), stdio("ends", HOSTILE, "ends"));
    await until(() => scene.state("ends")?.state === "failed", "the end");
    expect(scene.state("ends")).toMatchObject({ reason: "it ended with code 7", tools: 0 });
    expect(scene.state("deaf")).toEqual({ name: "deaf", state: "connecting", tools: 0 });
    await scene.servers.stop();
  });

  test.each([
    ["many-tools", 256, "left out: more than 256"],
    ["endless-pages", 0, undefined],
  ])("%s: so many are used", async (how, tools, reason) => {
    const scene = hostile(how);
    await scene.ready("bad");
    expect(scene.state("bad")).toEqual({
      name: "bad",
      state: "ready",
      tools,
      ...(reason !== undefined && { reason }),
    });
  });

  test("a list that is none is told", async () => {
    const scene = hostile("no-list");
    await until(() => scene.state("bad")?.state === "failed");
    expect(scene.state("bad")?.reason).toBe("it lists its tools in a way that cannot be read");
  });

  test("names and schemas that mean harm are spelled, left out or not followed", async () => {
    const scene = hostile("evil-tools");
    await scene.ready("bad");
    expect(scene.servers.tools().map(({ name }) => name)).toEqual([
      "bad.__proto__",
      "bad.constructor",
      "bad.a_b_c__",
      "bad.same_one",
      "bad.long",
      "bad.backtracks",
      "bad.circles",
      "bad.fans",
      "bad.broken",
      "bad.many",
      "bad.inherits",
    ]);
    expect(scene.state("bad")?.reason).toBe(
      "left out: bad.same_one: there are two of this name, a tool without a name that can be used, " +
        "a tool without a name that can be used, and 6 more",
    );
    expect(scene.tool("bad.long").description).toHaveLength(4_096);
    expect(scene.tool("bad.a_b_c__").description).toBe("\ufffd\ufffdodd");
    const toolbox = toolboxOf(scene);
    const block = await longestBlock(async () => {
      for (const name of ["backtracks", "circles", "fans", "broken", "inherits", "__proto__"]) {
        // None of them answers; that they are asked at all is what counts.
        const outcome = await make(toolbox, `bad.${name}`, { text: `${"a".repeat(60)}!`, n: 1 });
        expect(outcome).toEqual({ ok: false, content: `bad.${name} took longer than 500 ms` });
      }
      const a = Array.from({ length: 20_000 }, () => 1_799);
      expect(await make(toolbox, "bad.many", { a })).toMatchObject({
        content: expect.stringContaining("longer"),
      });
    });
    expect(block).toBeLessThan(2_000);
    expect(await make(toolbox, "bad.inherits", { n: "one" })).toMatchObject({
      content: expect.stringContaining("do not fit"),
    });
    expect(({} as Record<string, unknown>)["type"]).toBeUndefined();
  });

  test("what it writes to standard error is in the log, within bounds and without what it was given in secret", async () => {
    const scene = open({ ...stdio("bad", HOSTILE, "stderr"), env: { KEY: "a-secret-of-it" } });
    await scene.ready("bad");
    expect(await scene.call("bad.go")).toBe("said");
    const said = () => scene.log.filter(({ msg }) => msg === "a tool server said");
    await until(() => said().length === 20, "twenty lines");
    expect(said()[0]).toEqual({ server: "bad", text: "line 0 ***", msg: "a tool server said" });
    expect(said()).toHaveLength(20);
    expect(JSON.stringify(scene.log)).not.toContain("a-secret-of-it");
  });
});
