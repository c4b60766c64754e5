import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { SECRET, SERVER, closesServers, isAlive, open, stdio, until } from "./mcp.fixture.ts";

setDefaultTimeout(30_000);
closesServers();

describe("a tool server that is a process", () => {
  test("its tools appear under its name, and what they answer is told as text", async () => {
    const scene = open(stdio("shop", SERVER));
    expect(scene.state("shop")).toEqual({ name: "shop", state: "connecting", tools: 0 });
    await scene.ready("shop");
    expect(scene.tool("shop.echo")).toMatchObject({
      description: "says it again",
      source: "mcp:shop",
      parameters: { type: "object", required: ["text"] },
    });
    expect(await scene.call("shop.echo", { text: "hello" })).toBe("you said hello");
    expect(await scene.call("shop.add", { a: 1, b: 2 })).toBe('{"total":3}');
    expect(await scene.call("shop.picture")).toBe(
      "look\n[image image/png 6 bytes, not shown]\n[resource file:///a.txt text/plain]\ninside",
    );
    await expect(scene.call("shop.refuse")).rejects.toThrow("not on a Sunday");
    // The schema it sent has a pattern, which is the server's to check.
    await expect(scene.call("shop.echo", { text: "A!" })).rejects.toThrow(/pattern/);
  });

  test("it is given a clean environment", async () => {
    const scene = open({ ...stdio("shop", SERVER), env: { SHOP_KEY: "given-to-it" } });
    await scene.ready("shop");
    const env = JSON.parse(await scene.call("shop.environment")) as Record<string, string>;
    expect(env).toMatchObject({ SHOP_KEY: "given-to-it", PATH: process.env["PATH"] });
    const known = ["PATH", "HOME", "LANG", "SHOP_KEY"];
    expect(Object.keys(env).filter((name) => !known.includes(name))).toEqual([]);
    expect(JSON.stringify(env)).not.toContain(SECRET);
  });

  test("after a stop nothing of its process group is left", async () => {
    const scene = open(stdio("shop", SERVER));
    await scene.ready("shop");
    const { pid } = JSON.parse(await scene.call("shop.seen")) as { pid: number };
    const child = Number(await scene.call("shop.spawn"));
    expect([await isAlive(pid), await isAlive(child)]).toEqual([true, true]);
    await scene.servers.stop();
    expect(await isAlive(pid)).toBe(false);
    await until(async () => !(await isAlive(child)), "the end of its child");
    expect(scene.state("shop")).toEqual({ name: "shop", state: "stopped", tools: 0 });
    expect(scene.servers.tools()).toEqual([]);
  });

  test("one that ends in the middle of a call is started again; the call is not repeated, and its outcome is unknown", async () => {
    const scene = open(stdio("shop", SERVER));
    await scene.ready("shop");
    expect(await scene.call("shop.bump")).toBe("1");
    const child = Number(await scene.call("shop.spawn"));
    const calls = await Promise.allSettled([scene.call("shop.hang"), scene.call("shop.die")]);
    const unknown =
      "the tool server shop: it ended before it answered; whether the call had an effect is unknown";
    expect(calls.map((each) => each.status === "rejected" && (each.reason as Error).message)).toEqual([
      unknown,
      unknown,
    ]);
    // Its tools are still listed; a call waits for the new process.
    expect(await scene.call("shop.bump")).toBe("1");
    await until(async () => !(await isAlive(child)), "the end of its child");
    expect(scene.log.filter(({ msg }) => msg.startsWith("a tool server is gone"))).toMatchObject([
      { server: "shop", reason: "it ended with code 3" },
    ]);
  });

  test("a call that is given up is told to it", async () => {
    const scene = open(stdio("shop", SERVER));
    await scene.ready("shop");
    const stop = new AbortController();
    const hangs = scene.call("shop.hang", {}, stop.signal);
    await scene.call("shop.echo", { text: "a" });
    stop.abort();
    await expect(hangs).rejects.toThrow();
    const cancelled = async (): Promise<number> =>
      (JSON.parse(await scene.call("shop.seen")) as { cancelled: number }).cancelled;
    await until(async () => (await cancelled()) === 1, "its end at the server");
  });

  test("tools that it has later appear, and can be called", async () => {
    const scene = open(stdio("shop", SERVER));
    await scene.ready("shop");
    const before = scene.state("shop")?.tools ?? 0;
    await scene.call("shop.grow");
    await until(() => scene.state("shop")?.tools === before + 1, "another tool");
    expect(await scene.call("shop.grown")).toBe("I am new");
  });

  test("a command that does not exist is told, and tried again later", async () => {
    const scene = open({ ...stdio("none", SERVER), command: "no-such-command" });
    await until(() => scene.state("none")?.state === "failed");
    expect(scene.state("none")).toEqual({
      name: "none",
      state: "failed",
      tools: 0,
      reason: "there is no command no-such-command",
    });
    const failures = () => scene.log.filter(({ msg }) => msg.startsWith("a tool server cannot be used"));
    expect(failures()).toHaveLength(1);
  });
});
