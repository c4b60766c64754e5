import type { Command } from "./args.ts";
import type { Client } from "../client/client.ts";
import { ClientError } from "../client/error.ts";
import { closest } from "../config/closest.ts";
import { CommandError, EXIT, UsageError } from "./exit.ts";
import type { Io } from "./io.ts";
import { outJson, readStdin } from "./io.ts";
import { TARGET_OPTIONS, connectTo, findTarget } from "./target.ts";

/** One of the params. */
const NAMED = /^([a-z_]+)=([\s\S]*)$/;

export const call: Command = {
  name: "call",
  summary: "one request; the answer as JSON",
  usage: "METHOD [JSON | NAME=VALUE...]",
  details: [
    "JSON is the params, - reads them from stdin. With NAME=VALUE each is given by itself; a VALUE that is JSON counts as that:",
    "  agentbus call chat.history session_id=work limit=10",
    "`agentbus call system.describe` lists every method.",
  ].join("\n"),
  args: [1, 100],
  options: TARGET_OPTIONS,
  run: async (input, io) => {
    const [method = "", ...given] = input.args;
    const params = await paramsOf(given, io);
    const client = await connectTo(findTarget(input, io));
    try {
      const answer = client.request(method, params);
      outJson(io, await answer.catch((error: unknown) => Promise.reject(withHint(error, method, client))));
      return EXIT.ok;
    } finally {
      client.disconnect();
    }
  },
};

/** A slip in the name of a method is told, with the one that was probably meant. */
function withHint(error: unknown, method: string, { hello }: Client): unknown {
  const methods = hello?.features.methods ?? [];
  if (!(error instanceof ClientError) || error.code !== "NOT_FOUND" || methods.includes(method)) return error;
  const near = closest(method, methods);
  return near === null ? error : new CommandError(`${error.message}; did you mean ${near}?`);
}

async function paramsOf(given: readonly string[], io: Io): Promise<Record<string, unknown>> {
  const [first = "{}", ...more] = given;
  if (first === "-" && more.length === 0) return parseParams(await readStdin(io));
  if (!NAMED.test(first)) {
    if (more.length > 0)
      throw new UsageError(`call takes one JSON object, or NAME=VALUE each: "${first}" is neither`);
    return parseParams(first);
  }
  return Object.fromEntries(given.map(parseNamed));
}

/** @throws UsageError */
function parseNamed(text: string): [name: string, value: unknown] {
  const [, name, value = ""] = NAMED.exec(text) ?? [];
  if (name === undefined) throw new UsageError(`"${text}" is not NAME=VALUE`);
  try {
    return [name, JSON.parse(value)];
  } catch {
    return [name, value];
  }
}

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
