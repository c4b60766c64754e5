import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import type { Environment } from "./config/expand.ts";
import { expand } from "./config/expand.ts";
import type { McpServerSettings } from "./tool/mcp.ts";

export interface McpJson {
  readonly servers: readonly McpServerSettings[];
  /** What is wrong with the rest, one line each. */
  readonly warnings: readonly string[];
}

const FILE = ".mcp.json";
const FILE_BYTES = 256 * 1024;
const SERVERS_MAX = 32;
/** Variables of the gateway itself: no file of a directory may send them anywhere. */
const OURS = /\$\{AGENTBUS_/;

/**
 * The servers of `.mcp.json` in a directory, the file that other programs read as well. What cannot be used is left
 * out and told; it stops nothing. `taken`: names the configuration uses, which this file does not override.
 */
export function readMcpJson(cwd: string, env: Environment, taken: ReadonlySet<string>): McpJson {
  const servers: McpServerSettings[] = [];
  const warnings: string[] = [];
  const names = new Set(taken);
  try {
    for (const [given, entry] of Object.entries(entriesOf(join(cwd, FILE)))) {
      const name = given.replaceAll(/[^A-Za-z0-9_-]/g, "_").slice(0, 64);
      try {
        if (names.has(name)) throw new Error("there is a server of this name already, which counts");
        if (servers.length >= SERVERS_MAX) throw new Error(`no more than ${SERVERS_MAX} are possible`);
        servers.push(settingsOf(name, entry, env));
        names.add(name);
      } catch (error) {
        warnings.push(`${FILE}: ${name}: ${(error as Error).message}`);
      }
    }
  } catch (error) {
    warnings.push(`${FILE}: ${(error as Error).message}`);
  }
  return { servers, warnings };
}

function entriesOf(path: string): Readonly<Record<string, unknown>> {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return {};
  if (!stat.isFile() || stat.size > FILE_BYTES)
    throw new Error(`it is no file of at most ${FILE_BYTES} bytes`);
  let read: unknown;
  try {
    read = JSON.parse(readFileSync(path, "utf8"));
  } catch (cause) {
    throw new Error("it is no JSON", { cause });
  }
  const servers = isTable(read) ? read["mcpServers"] : undefined;
  if (!isTable(servers)) throw new Error("there is no mcpServers in it");
  return servers;
}

function settingsOf(name: string, entry: unknown, env: Environment): McpServerSettings {
  if (name === "") throw new Error("this is no name");
  if (!isTable(entry)) throw new Error("it must be an object");
  const text = (key: string): string => textOf(entry[key] ?? "", key, env);
  const settings = {
    name,
    command: text("command"),
    args: listOf(entry["args"] ?? [], env),
    env: tableOf(entry["env"] ?? {}, "env", env),
    url: text("url"),
    headers: tableOf(entry["headers"] ?? {}, "headers", env),
  };
  if (entry["type"] === "sse") throw new Error("servers of type sse are not spoken to, only http and stdio");
  if ((settings.command === "") === (settings.url === "")) throw new Error("it needs a command or a url");
  if (settings.url !== "" && !/^https?:$/.test(URL.parse(settings.url)?.protocol ?? "")) {
    throw new Error("its url is no address");
  }
  return settings;
}

function textOf(given: unknown, key: string, env: Environment): string {
  if (typeof given !== "string") throw new Error(`${key} must be a string`);
  if (OURS.test(given)) throw new Error(`${key}: variables of the gateway are not handed on`);
  return expand(given, env, key);
}

function listOf(given: unknown, env: Environment): string[] {
  if (!Array.isArray(given)) throw new Error("args must be a list");
  return given.map((each) => textOf(each, "args", env));
}

function tableOf(given: unknown, key: string, env: Environment): Record<string, string> {
  if (!isTable(given)) throw new Error(`${key} must be an object`);
  return Object.fromEntries(Object.entries(given).map(([name, each]) => [name, textOf(each, key, env)]));
}

function isTable(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
