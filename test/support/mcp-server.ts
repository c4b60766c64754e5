import {
  McpServer,
  WebStandardStreamableHTTPServerTransport,
  fromJsonSchema,
} from "@modelcontextprotocol/server";
import { StdioServerTransport } from "@modelcontextprotocol/server/stdio";

/**
 * A tool server to test with, as its authors would write one: `bun mcp-server.ts` speaks on standard input and output,
 * `bun mcp-server.ts PORT` over streamable HTTP. What became of the calls is kept for the whole process.
 */
const seen = { bumps: 0, cancelled: 0, headers: [] as Record<string, string>[] };

const NOTHING = fromJsonSchema<Record<string, never>>({ type: "object", properties: {} });
const text = (said: string) => ({ content: [{ type: "text" as const, text: said }] });

function createServer(): McpServer {
  const server = new McpServer(
    { name: "workshop", version: "1.0.0" },
    { capabilities: { tools: { listChanged: true } } },
  );
  const plain = (name: string, run: () => string | Promise<string>): void => {
    server.registerTool(name, { description: `does ${name}`, inputSchema: NOTHING }, async () =>
      text(await run()),
    );
  };
  server.registerTool(
    "echo",
    {
      description: "says it again",
      inputSchema: fromJsonSchema<{ text: string }>({
        type: "object",
        properties: { text: { type: "string", pattern: "^[a-z ]*$" } },
        required: ["text"],
        additionalProperties: false,
      }),
    },
    async (args) => text(`you said ${args.text}`),
  );
  server.registerTool(
    "add",
    { description: "adds", inputSchema: sum(), outputSchema: total() },
    async ({ a, b }) => ({
      content: [],
      structuredContent: { total: a + b },
    }),
  );
  server.registerTool("picture", { description: "a picture", inputSchema: NOTHING }, async () => ({
    content: [
      { type: "text", text: "look" },
      { type: "image", data: "aGVsbG8=", mimeType: "image/png" },
      { type: "resource", resource: { uri: "file:///a.txt", mimeType: "text/plain", text: "inside" } },
    ],
  }));
  server.registerTool("refuse", { description: "fails", inputSchema: NOTHING }, async () => ({
    ...text("not on a Sunday"),
    isError: true,
  }));
  plain("environment", () => JSON.stringify(process.env));
  plain("bump", () => String(++seen.bumps));
  plain("seen", () => JSON.stringify({ pid: process.pid, ...seen }));
  plain("die", () => process.exit(3));
  plain("spawn", () =>
    String(
      Bun.spawn(["sh", "-c", "trap '' TERM; sleep 1000"], { stdio: ["ignore", "ignore", "ignore"] }).pid,
    ),
  );
  server.registerTool("hang", { description: "never answers", inputSchema: NOTHING }, (_args, { mcpReq }) => {
    mcpReq.signal.addEventListener("abort", () => seen.cancelled++);
    return new Promise(() => undefined);
  });
  const slow_ms = Number(process.env["SLOW_MS"] ?? 0);
  if (slow_ms > 0) {
    plain("slow", async () => {
      await Bun.sleep(slow_ms);
      return "it was slow";
    });
  }
  plain("grow", () => {
    plain("grown", () => "I am new");
    return "there is more now";
  });
  return server;
}

function sum() {
  const number = { type: "number" };
  return fromJsonSchema<{ a: number; b: number }>({ type: "object", properties: { a: number, b: number } });
}

function total() {
  return fromJsonSchema<{ total: number }>({ type: "object", properties: { total: { type: "number" } } });
}

async function serveHttp(port: number): Promise<void> {
  const sessions = new Map<string, WebStandardStreamableHTTPServerTransport>();
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port,
    idleTimeout: 0,
    async fetch(request) {
      if (request.headers.get("authorization") !== "Bearer right")
        return new Response("who?", { status: 401 });
      if (new URL(request.url).pathname === "/forget") {
        sessions.clear();
        return new Response("forgotten");
      }
      seen.headers.push({ ...request.headers.toJSON() });
      const id = request.headers.get("mcp-session-id");
      const known = id === null ? undefined : sessions.get(id);
      if (known !== undefined) return known.handleRequest(request);
      if (id !== null) return new Response("no such session", { status: 404 });
      const transport = new WebStandardStreamableHTTPServerTransport({
        sessionIdGenerator: () => crypto.randomUUID(),
        onsessioninitialized: (session) => void sessions.set(session, transport),
      });
      await createServer().connect(transport);
      return transport.handleRequest(request);
    },
  });
  console.log(server.port);
}

const [port] = process.argv.slice(2);
if (port === undefined) await createServer().connect(new StdioServerTransport());
else await serveHttp(Number(port));
