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
  /** Puts variables in where there is text; null: text is what it is. */
  readonly expand: typeof expand | null;
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
  const reading = { layer: new Map(), env, expand, name: basename(path), base: dirname(path) };
  readTable(reading, parse(text, reading.name), "");
  return reading.layer;
}

/**
 * What a program says, with the names of the file. Text is taken as it is; what is undefined was not said.
 * @throws ConfigError
 */
export function readConfigObject(values: object, env: Environment, base: string): Layer {
  const reading = { layer: new Map(), env, expand: null, name: "config", base };
  if (!isPlain(values))
    throw new ConfigError("config: this must be an object, with the names of agentbus.toml");
  readTable(reading, values, "");
  return reading.layer;
}

function parse(text: string, name: string): Table {
  try {
    return Bun.TOML.parse(text) as Table;
  } catch (cause) {
    // Text that lacks its quotes is repeated behind a colon: it may be a secret, and this goes into logs.
    const message = (cause as Error).message.replace(/^TOML Parse error: /, "").replace(/: ".*$/s, "");
    throw new ConfigError(`${name}:${badLine(text)}: ${message}`);
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
    if (value === undefined) continue;
    const below = path === "" ? key : `${path}.${key}`;
    const where = `${reading.name}: ${below}`;
    const named = NAMED_TABLES.find((each) => each === path);
    if (named !== undefined) checkName(named, key, where);
    if (isTable(below)) {
      if (!isPlain(value)) {
        const how = reading.expand === null ? "an object" : `a table: write [${below}]`;
        throw new ConfigError(`${where}: this must be ${how}`);
      }
      readTable(reading, value, below);
      continue;
    }
    readOption(reading, below, value, where);
  }
}

function readOption(reading: Reading, path: string, given: unknown, where: string): void {
  const { layer, env, base } = reading;
  const option = optionAt(path);
  if (option !== undefined) {
    return put(layer, path, { value: expanded(option, given, reading, where), source: "file", where });
  }
  const held = optionOfFile(path);
  if (held === undefined) {
    const what = isPlain(given) ? "there is no such section" : "there is no such option";
    throw new ConfigError(`${where}: ${what}; ${suggestion(path)}`);
  }
  const file = typeof given === "string" ? (reading.expand?.(given, env, where) ?? given) : null;
  if (file === null) throw new ConfigError(`${where}: this must be the path of a file`);
  if (file !== "")
    put(layer, held.path, { ...readSecret(held, file, where, base, env), source: "file", where });
  return undefined;
}

/** Variables put in wherever there is text; what stands for a number or a switch may be one as well. */
function expanded(
  option: Option,
  given: unknown,
  { expand: put_in, env }: Reading,
  where: string,
): OptionValue {
  if (put_in === null) return readValue(option, given, where);
  if (typeof given === "string") {
    const text = put_in(given, env, where);
    return text === given ? readValue(option, given, where) : readText(option, text, where);
  }
  const each = (value: unknown): unknown => {
    if (typeof value === "string") return put_in(value, env, where);
    if (Array.isArray(value)) return value.map(each);
    if (!isPlain(value)) return value;
    return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, each(inner)]));
  };
  return readValue(option, each(given), where);
}
