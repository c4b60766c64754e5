import type { TObject } from "@sinclair/typebox";
import { SCOPES, validator } from "../protocol/schema.ts";
import type { Plugin } from "./api.ts";

const NAME = /^[a-z][a-z0-9_-]{0,63}$/;
const METHOD = /^[a-z][a-z0-9_]{0,63}(?:\.[a-z][a-z0-9_]{0,63}){1,3}$/;
const TOOL = /^[A-Za-z0-9_-]{1,64}$/;
const ROUTE =
  /^(?:GET|POST|PATCH|DELETE) \/(?:(?:[A-Za-z0-9._~-]+|:[a-z][a-z0-9_]*)(?:\/(?:[A-Za-z0-9._~-]+|:[a-z][a-z0-9_]*))*)?$/;
const PARTS = new Set([
  "name",
  "version",
  "description",
  "isolate",
  "methods",
  "tools",
  "providers",
  "events",
  "routes",
  "hooks",
  "setup",
]);
const HOOKS = new Set([
  "before_run",
  "after_run",
  "before_tool_call",
  "after_tool_call",
  "before_message",
  "after_message",
]);

type Fields = Readonly<Record<string, unknown>>;

/** What a module exports by default, where it is a plug-in. @throws Error that says what about it is none */
export function readPlugin(value: unknown): Plugin {
  const plugin = fields(value, "the default export", "export default definePlugin({ … })");
  for (const part of Object.keys(plugin)) {
    if (!PARTS.has(part))
      throw new Error(`there is no ${part} in a plug-in; there are ${[...PARTS].join(", ")}`);
  }
  if (typeof plugin["name"] !== "string" || !NAME.test(plugin["name"])) {
    throw new Error(`name: lower-case letters, digits, - and _, a letter first, at most 64 of them`);
  }
  optional(plugin, "version", "string");
  optional(plugin, "description", "string");
  optional(plugin, "isolate", "boolean");
  optional(plugin, "setup", "function");
  each(plugin, "methods", METHOD, "namespace.verb in lower case", readMethod);
  each(plugin, "tools", TOOL, "letters, digits, - and _, at most 64", readTool);
  each(
    plugin,
    "routes",
    ROUTE,
    "a verb (GET, POST, PATCH, DELETE) and a path, like GET /forecast/:city",
    readRoute,
  );
  each(plugin, "events", /^\S{1,128}$/, "the type of an event, or *", isFunction);
  each(plugin, "hooks", /^/, "", (hook, at, name) => {
    if (!HOOKS.has(name)) throw new Error(`${at}: there is no such hook; there are ${[...HOOKS].join(", ")}`);
    isFunction(hook, at);
  });
  readProviders(plugin["providers"]);
  return plugin as unknown as Plugin;
}

function readMethod(value: unknown, at: string): void {
  const method = fields(value, at);
  isScope(method["scope"], `${at}.scope`);
  isText(method["doc"], `${at}.doc`);
  isObjectSchema(method["params"], `${at}.params`);
  isSchema(method["result"], `${at}.result`);
  optional(method, "mutates", "boolean");
  isFunction(method["run"], `${at}.run`);
}

function readTool(value: unknown, at: string): void {
  const tool = fields(value, at);
  isText(tool["description"], `${at}.description`);
  isObjectSchema(tool["parameters"], `${at}.parameters`);
  const { timeout_ms } = tool;
  if (timeout_ms !== undefined && !(typeof timeout_ms === "number" && timeout_ms > 0)) {
    throw new Error(`${at}.timeout_ms: milliseconds, more than 0`);
  }
  isFunction(tool["run"], `${at}.run`);
}

function readRoute(value: unknown, at: string): void {
  const route = fields(value, at);
  isText(route["doc"], `${at}.doc`);
  isFunction(route["run"], `${at}.run`);
  const { open } = route;
  if (open !== undefined && open !== true) throw new Error(`${at}.open: true, or leave it out`);
  const both = open === true && "scope" in route;
  if (both || (open === undefined && !("scope" in route))) {
    throw new Error(`${at}: say who may use it: a scope (null: any credential), or open: true for everybody`);
  }
  if (open === undefined) isScope(route["scope"], `${at}.scope`);
}

function readProviders(value: unknown): void {
  if (value === undefined) return;
  if (!Array.isArray(value)) throw new Error("providers: a list");
  for (const [index, each] of value.entries()) {
    const at = `providers[${index}]`;
    const provider = fields(each, at);
    if (typeof provider["name"] !== "string" || !NAME.test(provider["name"])) {
      throw new Error(`${at}.name: lower-case letters, digits, - and _, a letter first`);
    }
    for (const part of ["state", "models", "stream"]) isFunction(provider[part], `${at}.${part}`);
  }
}

function each(
  plugin: Fields,
  part: string,
  names: RegExp,
  meant: string,
  read: (value: unknown, at: string, name: string) => void,
): void {
  if (plugin[part] === undefined) return;
  for (const [name, value] of Object.entries(fields(plugin[part], part))) {
    const at = `${part}["${name.slice(0, 128)}"]`;
    if (!names.test(name)) throw new Error(`${at}: a name is ${meant}`);
    read(value, at, name);
  }
}

function fields(value: unknown, at: string, meant = "an object"): Fields {
  if (value !== null && typeof value === "object" && !Array.isArray(value)) return value as Fields;
  throw new Error(`${at}: ${value === undefined ? "missing: " : ""}${meant}`);
}

function optional(of: Fields, name: string, type: "string" | "boolean" | "function"): void {
  const value = of[name];
  if (value !== undefined && typeof value !== type) throw new Error(`${name}: a ${type}`);
}

function isFunction(value: unknown, at: string): void {
  if (typeof value !== "function") throw new Error(`${at}: a function`);
}

function isText(value: unknown, at: string): void {
  if (typeof value !== "string" || value === "") throw new Error(`${at}: one sentence`);
}

function isScope(value: unknown, at: string): void {
  if (value === null || SCOPES.some((scope) => scope === value)) return;
  throw new Error(`${at}: null, or one of ${SCOPES.join(", ")}`);
}

function isObjectSchema(value: unknown, at: string): void {
  const schema = isSchema(value, at);
  if (schema["type"] !== "object" || typeof schema["properties"] !== "object") {
    throw new Error(`${at}: Type.Object({ … })`);
  }
}

/** One that validation can be made of. */
function isSchema(value: unknown, at: string): Fields {
  const schema = fields(value, at, "a schema, such as Type.Object({ … })");
  try {
    validator(schema as unknown as TObject);
  } catch (cause) {
    throw new Error(`${at}: no schema of Type: ${(cause as Error).message}`, { cause });
  }
  return schema;
}
