import { afterEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import type { McpServerSettings } from "../../src/tool/mcp.ts";
import { SERVER, closesServers, open, until } from "./mcp.fixture.ts";

setDefaultTimeout(30_000);
closesServers();

const running: Served[] = [];
afterEach(async () => {
  await Promise.all(running.splice(0).map((each) => each.kill()));
});

interface Served {
  readonly port: number;
  readonly url: string;
  kill(): Promise<void>;
}

/** The same tool server, over HTTP. */
async function serve(port = 0): Promise<Served> {
  const child = Bun.spawn([process.execPath, SERVER, String(port)], { stdout: "pipe", stderr: "inherit" });
  const reader = child.stdout.getReader();
  const first = await reader.read();
  const taken = Number(new TextDecoder().decode(first.value));
  if (!(taken > 0)) throw new Error("the tool server does not listen");
  const served: Served = {
    port: taken,
    url: `http://127.0.0.1:${taken}/mcp`,
    async kill() {
      child.kill("SIGKILL");
      await child.exited;
    },
  };
  running.push(served);
  return served;
}

function reached(url: string, token = "right"): McpServerSettings {
  return { name: "shop", command: "", args: [], env: {}, url, headers: { Authorization: `Bearer ${token}` } };
}

interface Seen {
  readonly bumps: number;
  readonly cancelled: number;
  readonly headers: readonly Record<string, string>[];
}

describe("a tool server reached by streamable HTTP", () => {
  test("is told the trace that a call belongs to, and not what its arguments call one", async () => {
    const { url } = await serve();
    const scene = open(reached(url));
    await scene.ready("shop");
    const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const context = { signal: new AbortController().signal, session_id: "s", run_id: "r" };
    const seen = async (): Promise<unknown> => {
      const { headers } = JSON.parse(await scene.call("shop.seen")) as Seen;
      // The last one is that of the question itself.
      return headers.at(-2)?.["traceparent"];
    };
    await scene.tool("shop.echo").run({ text: "x" }, { ...context, traceparent });
    expect(await seen()).toBe(traceparent);
    await scene.tool("shop.echo").run({ text: "traceparent" }, context);
    expect(await seen()).toBeUndefined();
  });

  test("is given its headers, and answers as one that is a process does", async () => {
    const { url } = await serve();
    const scene = open(reached(url));
    await scene.ready("shop");
    expect(await scene.call("shop.echo", { text: "hello" })).toBe("you said hello");
    expect(await scene.call("shop.add", { a: 1, b: 2 })).toBe('{"total":3}');
    await expect(scene.call("shop.refuse")).rejects.toThrow("not on a Sunday");
    const seen = JSON.parse(await scene.call("shop.seen")) as Seen;
    expect(seen.headers.at(-1)).not.toHaveProperty("traceparent");
    expect(seen.headers.at(-1)).toMatchObject({
      authorization: "Bearer right",
      "mcp-session-id": expect.any(String),
    });
    await scene.call("shop.grow");
    await until(() => scene.servers.tools().some(({ name }) => name === "shop.grown"), "another tool");
    expect(await scene.call("shop.grown")).toBe("I am new");
  });

  test("a session that it forgot is made again, and the call that found out is made once", async () => {
    const { url, port } = await serve();
    const scene = open(reached(url));
    await scene.ready("shop");
    expect(await scene.call("shop.bump")).toBe("1");
    const headers = { authorization: "Bearer right" };
    await fetch(`http://127.0.0.1:${port}/forget`, { headers });
    expect(await scene.call("shop.bump")).toBe("2");
    expect(scene.state("shop")).toMatchObject({ state: "ready" });
    const { bumps } = JSON.parse(await scene.call("shop.seen")) as Seen;
    expect(bumps).toBe(2);
  });

  test("one that was started again in its place is used again; a call under way at its end is not repeated", async () => {
    const first = await serve();
    const scene = open(reached(first.url));
    await scene.ready("shop");
    await scene.call("shop.bump");
    const hangs = scene.call("shop.hang");
    await scene.call("shop.bump");
    const ended = hangs.then(
      () => new Error("it answered"),
      (error: Error) => error,
    );
    await first.kill();
    expect((await ended).message).toMatch(/effect is unknown/);
    await serve(first.port);
    await until(async () => {
      try {
        return (await scene.call("shop.bump")) === "1";
      } catch (error) {
        // Until it is back, a call is not made, and says so.
        expect((error as Error).message).toMatch(/the tool was not called|there is no shop.bump/);
        return false;
      }
    }, "a call of the new one");
  });

  test("credentials that it refuses are told, without them", async () => {
    const { url } = await serve();
    const scene = open(reached(url, "wrong-and-secret"));
    await until(() => scene.state("shop")?.state === "failed", "the refusal");
    expect(scene.state("shop")).toEqual({
      name: "shop",
      state: "failed",
      tools: 0,
      reason: "it refuses the credentials (HTTP 401): check its headers",
    });
    expect(JSON.stringify(scene.log)).not.toContain("wrong-and-secret");
  });

  test("an address where nobody is, or somebody else", async () => {
    const gone = await serve();
    await gone.kill();
    using other = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      fetch: () => new Response("<html>hello</html>"),
    });
    const scene = open(reached(gone.url), { ...reached(`${other.url.origin}/mcp`), name: "page" });
    await until(
      () => scene.servers.states?.().every(({ state }) => state === "failed") === true,
      "both failures",
    );
    expect(scene.servers.states?.().map(({ reason }) => reason)).toEqual([
      "it cannot be reached",
      "it answers with something that is no tool server's",
    ]);
  });

  test("a call that is given up is told to it, and its request is let go", async () => {
    const { url } = await serve();
    const scene = open(reached(url));
    await scene.ready("shop");
    const stop = new AbortController();
    const hangs = scene.call("shop.hang", {}, stop.signal);
    await scene.call("shop.bump");
    stop.abort();
    await expect(hangs).rejects.toThrow();
    await until(async () => (JSON.parse(await scene.call("shop.seen")) as Seen).cancelled === 1, "its end");
  });
});
