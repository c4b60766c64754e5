import { readFileSync } from "node:fs";
import { basename, dirname } from "node:path";
import { ConfigError } from "./error.ts";
import type { Environment } from "./expand.ts";
import { expand } from "./expand.ts";
import type { Layer } from "./layer.ts";
import { put, readSecret, reasonOf } from "./layer.ts";
import type { Option, OptionValue } from "./options.ts";
import { NAMED_TABLES, checkName, isTable, optionAt, optionOfFile, suggestion } from "./options.ts";
import { isPlain, readText, readValue } from "./value.ts";

type Table = Readonly<Record<string, unknown>>;

interface Reading {
  readonly layer: Layer;
  readonly env: Environment;
  /** What errors call the file. */
  readonly name: string;
  /** Where relative paths begin. */
  readonly base: string;
}

/** @throws ConfigError */
export function readConfigFile(path: string, env: Environment): Layer {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (cause) {
    throw new ConfigError(`cannot read the configuration ${path}: ${reasonOf(cause)}`, { cause });
  }
  const reading = { layer: new Map(), env, name: basename(path), base: dirname(path) };
  readTable(reading, parse(text, reading.name), "");
  return reading.layer;
}

function parse(text: string, name: string): Table {
  try {
    return Bun.TOML.parse(text) as Table;
  } catch (cause) {
    const message = (cause as Error).message.replace(/^TOML Parse error: /, "");
    throw new ConfigError(`${name}:${badLine(text)}: ${message}`, { cause });
  }
}

/** The parser names no line: it is the first one after the longest beginning of the file that can be read. */
function badLine(text: string): number {
  const lines = text.split("\n");
  for (let good = lines.length - 1; good > 0; good--) {
    try {
      Bun.TOML.parse(lines.slice(0, good).join("\n"));
      return good + 1;
    } catch {
      // A shorter beginning may do.
    }
  }
  return 1;
}

function readTable(reading: Reading, table: Table, path: string): void {
  for (const [key, value] of Object.entries(table)) {
    const below = path === "" ? key : `${path}.${key}`;
    const where = `${reading.name}: ${below}`;
    const named = NAMED_TABLES.find((each) => each === path);
    if (named !== undefined) checkName(named, key, where);
    if (isTable(below)) {
      if (!isPlain(value)) throw new ConfigError(`${where}: this must be a table: write [${below}]`);
      readTable(reading, value, below);
      continue;
    }
    readOption(reading, below, value, where);
  }
}

function readOption({ layer, env, base }: Reading, path: string, given: unknown, where: string): void {
  const option = optionAt(path);
  if (option !== undefined) {
    return put(layer, path, { value: expanded(option, given, env, where), source: "file", where });
  }
  const held = optionOfFile(path);
  if (held === undefined) {
    const what = isPlain(given) ? "there is no such section" : "there is no such option";
    throw new ConfigError(`${where}: ${what}; ${suggestion(path)}`);
  }
  const file = typeof given === "string" ? expand(given, env, where) : null;
  if (file === null) throw new ConfigError(`${where}: this must be the path of a file`);
  if (file !== "")
    put(layer, held.path, { value: readSecret(held, file, where, base, env), source: "file", where });
  return undefined;
}

/** Variables put in wherever there is text; what stands for a number or a switch may be one as well. */
function expanded(option: Option, given: unknown, env: Environment, where: string): OptionValue {
  if (typeof given === "string") {
    const text = expand(given, env, where);
    return text === given ? readValue(option, given, where) : readText(option, text, where);
  }
  const each = (value: unknown): unknown => {
    if (typeof value === "string") return expand(value, env, where);
    if (Array.isArray(value)) return value.map(each);
    if (!isPlain(value)) return value;
    return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, each(inner)]));
  };
  return readValue(option, each(given), where);
}
