import { afterEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import type { McpServerSettings } from "../../src/tool/mcp.ts";
import { closesServers, open, until } from "./mcp.fixture.ts";

setDefaultTimeout(40_000);
closesServers();

const opened: ReturnType<typeof Bun.serve>[] = [];
afterEach(async () => {
  await Promise.all(opened.splice(0).map((server) => server.stop(true)));
});

interface Asked {
  readonly id: unknown;
  readonly signal: AbortSignal;
}

/** A tool server with one tool, `go`, whose calls are answered by `answer`; `url` of it, and what it was sent. */
function serve(answer: (asked: Asked) => Response | Promise<Response>) {
  const calls: Asked[] = [];
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    idleTimeout: 0,
    async fetch(request) {
      if (request.method !== "POST") return new Response(null, { status: 405 });
      const { id, method } = (await request.json()) as { id?: unknown; method: string };
      const result = (value: unknown): Response => Response.json({ jsonrpc: "2.0", id, result: value });
      if (method === "initialize") {
        const serverInfo = { name: "bad", version: "0" };
        return result({ protocolVersion: "2025-06-18", capabilities: { tools: {} }, serverInfo });
      }
      if (method === "tools/list")
        return result({ tools: [{ name: "go", inputSchema: { type: "object" } }] });
      if (method !== "tools/call") return new Response(null, { status: 202 });
      const asked = { id, signal: request.signal };
      calls.push(asked);
      return answer(asked);
    },
  });
  opened.push(server);
  return { calls, url: `${server.url.origin}/mcp` };
}

function reached(url: string): McpServerSettings {
  const headers = { Authorization: "Bearer only-for-the-right-one" };
  return { name: "bad", command: "", args: [], env: {}, url, headers };
}

/** A body that goes on and on. */
function endless(piece: string, type: string): Response {
  const bytes = new TextEncoder().encode(piece);
  const body = new ReadableStream({
    async pull(controller) {
      await new Promise((resolve) => setImmediate(resolve));
      controller.enqueue(bytes);
    },
  });
  return new Response(body, { headers: { "content-type": type } });
}

const STREAM = "text/event-stream";

describe("a hostile tool server over HTTP", () => {
  test.each([
    [
      "a body that never ends",
      () => endless(" ".repeat(65_536), "application/json"),
      /more than 4194304 bytes/,
    ],
    [
      "an event that never ends",
      () => endless("data: x".padEnd(65_536, "x"), STREAM),
      /more than 4194304 bytes/,
    ],
    ["events without end", () => endless(": \n\ndata: {}\n\n".repeat(500), STREAM), /messages a minute/],
  ])("one that goes on without end is let go of, and tried again: %s", async (_what, answer, reason) => {
    const { url } = serve(answer);
    const scene = open(reached(url));
    await scene.ready("bad");
    await expect(scene.call("bad.go")).rejects.toThrow(/effect is unknown/);
    await until(() => scene.log.some(({ msg }) => msg.startsWith("a tool server is gone")), "the end");
    const gone = scene.log.find(({ msg }) => msg.startsWith("a tool server is gone"));
    expect(gone?.["reason"]).toMatch(reason);
    await scene.ready("bad");
  });

  test("what it says in the place of an answer is told by its status alone", async () => {
    const { url } = serve(() => new Response("Bearer only-for-the-right-one".repeat(1_000), { status: 500 }));
    const scene = open(reached(url));
    await scene.ready("bad");
    await expect(scene.call("bad.go")).rejects.toThrow(
      /^the tool server bad: it answers HTTP 500; whether the call had an effect is unknown$/,
    );
    expect(JSON.stringify([scene.log, scene.state("bad")])).not.toContain("only-for-the-right-one");
  });

  test("credentials do not follow it elsewhere", async () => {
    const seen: (string | null)[] = [];
    using elsewhere = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      fetch: (request) => {
        seen.push(request.headers.get("authorization"));
        return new Response(null, { status: 202 });
      },
    });
    const { url } = serve(() => Response.redirect(`${elsewhere.url.origin}/mcp`, 307));
    const scene = open(reached(url));
    await scene.ready("bad");
    await expect(scene.call("bad.go")).rejects.toThrow(/HTTP 307/);
    expect(seen).toEqual([]);
  });

  test("a request is let go when its call is given up, and when it was answered and goes on", async () => {
    const answered = (id: unknown): string =>
      `data: ${JSON.stringify({ jsonrpc: "2.0", id, result: { content: [{ type: "text", text: "yes" }] } })}\n\n`;
    const { url, calls } = serve(({ id }) => {
      const body = new ReadableStream({
        start(controller) {
          controller.enqueue(new TextEncoder().encode(calls.length === 1 ? ": waiting\n\n" : answered(id)));
        },
      });
      return new Response(body, { headers: { "content-type": STREAM } });
    });
    const scene = open(reached(url));
    await scene.ready("bad");
    const stop = new AbortController();
    const hangs = scene.call("bad.go", {}, stop.signal).catch((error: Error) => error);
    await until(() => calls.length === 1, "the call");
    stop.abort();
    expect(await hangs).toBeInstanceOf(Error);
    await until(() => calls[0]?.signal.aborted === true, "the end of the first request");
    expect(await scene.call("bad.go")).toBe("yes");
    await until(() => calls[1]?.signal.aborted === true, "the end of the second request");
    expect(calls).toHaveLength(2);
  });
});
