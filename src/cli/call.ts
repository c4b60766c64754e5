import type { Command } from "./args.ts";
import { EXIT, UsageError } from "./exit.ts";
import { outJson, readStdin } from "./io.ts";
import { TARGET_OPTIONS, connectTo, findTarget } from "./target.ts";

export const call: Command = {
  name: "call",
  summary: "one request; the answer as JSON",
  usage: "METHOD [JSON]",
  details: "JSON is the params, - reads them from stdin. `agentbus call system.describe` lists every method.",
  args: [1, 2],
  options: TARGET_OPTIONS,
  run: async (input, io) => {
    const [method = "", given = "{}"] = input.args;
    const params = parseParams(given === "-" ? await readStdin(io) : given);
    const client = await connectTo(findTarget(input, io));
    try {
      outJson(io, await client.request(method, params));
      return EXIT.ok;
    } finally {
      client.disconnect();
    }
  },
};

function parseParams(text: string): Record<string, unknown> {
  let params: unknown;
  try {
    params = JSON.parse(text);
  } catch (error) {
    throw new UsageError(
      `the params are not JSON (${(error as Error).message}): write them like '{"limit":10}'`,
    );
  }
  if (params === null || typeof params !== "object" || Array.isArray(params)) {
    throw new UsageError("the params are a JSON object");
  }
  return params as Record<string, unknown>;
}
