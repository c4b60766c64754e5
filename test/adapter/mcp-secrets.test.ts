import { afterEach, expect, test } from "bun:test";
import type { McpServerSettings } from "../../src/tool/mcp.ts";
import { closesServers, open, until } from "./mcp.fixture.ts";

closesServers();
const serving: { stop(): unknown }[] = [];
afterEach(() => {
  for (const each of serving.splice(0)) each.stop();
});

interface Asked {
  readonly id?: number;
  readonly method: string;
}

/** A tool server that says what it was asked with wherever it fails: at once, or with each call. */
function tellTale(failsAt: "initialize" | "tools/call"): number {
  const answer = async (request: Request): Promise<Response> => {
    if (request.method !== "POST") return new Response(null, { status: 405 });
    const { id, method } = (await request.json()) as Asked;
    if (id === undefined) return new Response(null, { status: 202 });
    const says = (rest: object): Response => Response.json({ jsonrpc: "2.0", id, ...rest });
    if (method === failsAt) {
      const message = `${request.headers.get("authorization")} is no good at ${request.url}`;
      return says({ error: { code: -32_000, message } });
    }
    if (method === "tools/list")
      return says({ result: { tools: [{ name: "buy", inputSchema: { type: "object" } }] } });
    const serverInfo = { name: "shop", version: "1" };
    return says({ result: { protocolVersion: "2025-06-18", capabilities: { tools: {} }, serverInfo } });
  };
  const server = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: answer });
  serving.push({ stop: () => server.stop(true) });
  return server.port ?? 0;
}

function reached(port: number): McpServerSettings {
  const url = `http://127.0.0.1:${port}/mcp?key=of-the-url-1234`;
  const headers = { Authorization: "Bearer of-the-header-5678" };
  return { name: "shop", command: "", args: [], env: {}, url, headers };
}

const SECRETS = /of-the-(?:url|header)/;

test("why a server cannot be used does not say what it was given to prove itself with", async () => {
  const scene = open(reached(tellTale("initialize")));
  await until(() => scene.state("shop")?.state === "failed", "it fails");
  expect(scene.state("shop")?.reason).toMatch(/^\*\*\* is no good at http:.*\?key=\*\*\*$/);
  expect(JSON.stringify(scene.log)).not.toMatch(SECRETS);
});

test("nor is a model told it, of a call that failed", async () => {
  const scene = open(reached(tellTale("tools/call")));
  await scene.ready("shop");
  const failure = await scene.call("shop.buy").catch((error: Error) => error.message);
  expect(failure).toContain("*** is no good at");
  expect(failure).not.toMatch(SECRETS);
});
