import { appendFileSync, existsSync, writeSync } from "node:fs";

/**
 * A tool server that means harm, on standard input and output: `bun mcp-hostile.ts HOW`. It introduces itself as any
 * server does, lists one tool, `go`, and does what HOW says: when that is called, or by itself once the file WHEN is there.
 * WHEN.starts gets a line for each of its starts.
 */
const how = process.argv[2] ?? "";
const say = (message: unknown): void => void process.stdout.write(`${JSON.stringify(message)}\n`);
const answer = (id: unknown, result: unknown): void => say({ jsonrpc: "2.0", id, result });

const EMPTY = { type: "object" };
const deep = (depth: number): unknown =>
  depth === 0 ? { type: "string" } : { properties: { a: deep(depth - 1) } };
/** Every level doubles the work of whoever follows references. */
const fanning = Object.fromEntries(
  Array.from({ length: 40 }, (_, n) => [
    `l${n}`,
    { allOf: [{ $ref: `#/$defs/l${n + 1}` }, { $ref: `#/$defs/l${n + 1}` }] },
  ]),
);

const EVIL = [
  { name: "__proto__", inputSchema: EMPTY },
  { name: "constructor", inputSchema: EMPTY },
  { name: "a/b c\u0000\ud800", description: "\ud800\u0000odd", inputSchema: EMPTY },
  { name: "same one", inputSchema: EMPTY },
  { name: "same_one", inputSchema: EMPTY },
  { name: "", inputSchema: EMPTY },
  { name: "n".repeat(10_000), inputSchema: EMPTY },
  { name: 7, inputSchema: EMPTY },
  null,
  { name: "none" },
  { name: "text", inputSchema: { type: "string" } },
  { name: "deep", inputSchema: { type: "object", ...(deep(100) as object) } },
  { name: "wide", inputSchema: { type: "object", description: "x".repeat(100_000) } },
  { name: "long", description: "y".repeat(100_000), inputSchema: EMPTY },
  {
    name: "backtracks",
    inputSchema: {
      type: "object",
      properties: { text: { type: "string", pattern: "^(a+)+$", format: "regex" } },
    },
  },
  { name: "circles", inputSchema: { type: "object", $ref: "#" } },
  { name: "fans", inputSchema: { type: "object", $defs: { ...fanning, l40: {} }, $ref: "#/$defs/l0" } },
  {
    name: "broken",
    inputSchema: { type: "object", properties: { a: { pattern: "(" } }, $ref: "http://elsewhere/" },
  },
  {
    name: "many",
    inputSchema: {
      type: "object",
      properties: { a: { items: { anyOf: Array.from({ length: 1_800 }, (_, n) => ({ const: n })) } } },
    },
  },
  {
    name: "inherits",
    inputSchema: JSON.parse(
      '{"type":"object","properties":{"__proto__":{"type":"string"},"toString":{"type":"string"},"n":{"type":"integer"}}}',
    ) as unknown,
  },
];

function list(id: unknown): void {
  if (how === "evil-tools") return answer(id, { tools: EVIL });
  if (how === "many-tools") {
    return answer(id, {
      tools: Array.from({ length: 1_000 }, (_, n) => ({ name: `t${n}`, inputSchema: EMPTY })),
    });
  }
  if (how === "endless-pages") return answer(id, { tools: [], nextCursor: String(Math.random()) });
  if (how === "no-list") return answer(id, { tools: "all of them" });
  return answer(id, { tools: [{ name: "go", inputSchema: EMPTY }] });
}

function flood(line: string): void {
  const more = (): void => {
    while (process.stdout.write(line)) continue;
    process.stdout.once("drain", more);
  };
  more();
}

function call(id: unknown): void {
  switch (how) {
    case "huge-line":
      return flood("x".repeat(65_536));
    case "flood":
      return flood(`${JSON.stringify({ jsonrpc: "2.0", method: "notifications/tools/list_changed" })}\n`);
    case "pings": {
      const ping = (n: number): string => `${JSON.stringify({ jsonrpc: "2.0", id: n, method: "ping" })}\n`;
      return flood(ping(1));
    }
    case "no-json":
      process.stdout.write('{{{\n\u0000\n[]\n7\n"x"\nnull\n{}\n');
      return answer(id, { content: [{ type: "text", text: "after all" }] });
    case "wrong-ids":
      for (const wrong of [null, -1, "x", 1e300, {}, 999_999])
        answer(wrong, { content: [{ type: "text", text: "wrong" }] });
      answer(id, { content: [{ type: "text", text: "right" }] });
      return answer(id, { content: [{ type: "text", text: "again" }] });
    case "last-words": {
      const result = { content: [{ type: "text", text: "farewell" }] };
      // More than one read of the pipe, and then the end.
      const noise = `${JSON.stringify({ jsonrpc: "2.0", method: "notifications/message" })}\n`.repeat(800);
      writeSync(1, `${noise}${JSON.stringify({ jsonrpc: "2.0", id, result })}\n`);
      return process.exit(0);
    }
    case "no-result":
      return answer(id, { content: { "0": "text" }, isError: "perhaps" });
    case "deep-result":
      process.stdout.write(
        `{"jsonrpc":"2.0","id":${String(id)},"result":{"structuredContent":${"[".repeat(200_000)}${"]".repeat(200_000)}}}\n`,
      );
      return undefined;
    case "stderr":
      for (let n = 0; n < 5_000; n++) process.stderr.write(`line ${n} ${process.env["KEY"]}\r\n`);
      process.stderr.write("e".repeat(1_000_000));
      return answer(id, { content: [{ type: "text", text: "said" }] });
    default:
      return undefined;
  }
}

function take(line: string): void {
  const { id, method } = JSON.parse(line) as { id?: unknown; method?: string };
  if (method === "initialize" && how !== "deaf") {
    answer(id, {
      protocolVersion: "2025-06-18",
      capabilities: { tools: { listChanged: true } },
      serverInfo: { name: "hostile", version: "0" },
    });
  }
  if (method === "tools/list") list(id);
  if (method === "tools/call") call(id);
}

const when = process.env["WHEN"];
if (when !== undefined) {
  appendFileSync(`${when}.starts`, `${how}\n`);
  const timer = setInterval(() => {
    if (!existsSync(when)) return;
    clearInterval(timer);
    call(0);
  }, 20);
}
if (how === "ends") process.exit(7);
let rest = "";
for await (const bytes of Bun.stdin.stream()) {
  const lines = (rest + new TextDecoder().decode(bytes)).split("\n");
  rest = lines.pop() ?? "";
  lines.forEach(take);
}
