import { McpServer, fromJsonSchema } from "@modelcontextprotocol/server";
import { StdioServerTransport } from "@modelcontextprotocol/server/stdio";

/** `bun bench/support/tool-server.ts COUNT`: a tool server with so many tools, as large as tools usually are. */
const PARAMETERS = {
  type: "object",
  properties: {
    query: { type: "string", description: "What is looked for, in a few words." },
    limit: { type: "integer", minimum: 1, maximum: 100, description: "How many are answered at most." },
    order: { enum: ["newest", "oldest", "best"], description: "Which of them come first." },
  },
  required: ["query"],
  additionalProperties: false,
};

const server = new McpServer({ name: "many", version: "1.0.0" });
for (let i = 0; i < Number(process.argv[2]); i++) {
  server.registerTool(
    `search_${i}`,
    {
      description: `Searches the collection number ${i}. Use when somebody asks for what may be in it.`,
      inputSchema: fromJsonSchema<{ query: string }>(PARAMETERS),
    },
    async ({ query }) => ({ content: [{ type: "text", text: query }] }),
  );
}
await server.connect(new StdioServerTransport());
