import { microsOf } from "../core/prices.ts";
import { ConfigError } from "./error.ts";
import type { Option, OptionSchema, OptionValue } from "./options.ts";

type Amounts = NonNullable<OptionSchema["amounts"]>;

const YES = ["true", "yes", "on", "1"];
const NO = ["false", "no", "off", "0"];
const AMOUNT = /^\d+(\.\d+)?$/;

/**
 * A value as the file has it. `where` is what an error begins with.
 * @throws ConfigError
 */
export function readValue({ schema }: Option, given: unknown, where: string): OptionValue {
  if (schema.values !== undefined) return oneOf(schema, given, where);
  if (fits(schema, given)) return given as OptionValue;
  const wrong = schema.amounts === undefined || !isPlain(given) ? null : wrongAmount(schema.amounts, given);
  if (wrong !== null) throw new ConfigError(`${where}: ${wrong}`);
  throw misfit(schema, given, where);
}

/**
 * A value as text, from the environment or a flag: lists are separated by commas, headers are `name=value`, and a table
 * of tables is `name=one:two`, amounts in the order of their keys.
 * @throws ConfigError
 */
export function readText(option: Option, text: string, where: string): OptionValue {
  return readValue(option, parse(option.schema, text.trim(), text), where);
}

function parse(schema: OptionSchema, trimmed: string, text: string): unknown {
  switch (schema.type) {
    case "integer":
      return /^[+-]?\d+$/.test(trimmed) ? Number(trimmed) : text;
    case "number":
      return AMOUNT.test(trimmed) ? Number(trimmed) : text;
    case "boolean":
      if (YES.includes(trimmed.toLowerCase())) return true;
      return NO.includes(trimmed.toLowerCase()) ? false : text;
    case "array":
      return split(text);
    case "object":
      if (schema.amounts !== undefined) return amountTables(text, schema.amounts);
      return schema.entries === undefined ? pairs(text) : tables(text, schema.entries);
    default:
      return schema.values === undefined ? text : trimmed;
  }
}

function split(text: string): string[] {
  return text
    .split(",")
    .map((each) => each.trim())
    .filter((each) => each !== "");
}

function pairs(text: string): unknown {
  const entries = split(text).map((each) => [each.split("=", 1)[0]?.trim() ?? "", each] as const);
  if (entries.some(([name, each]) => name === "" || !each.includes("="))) return text;
  return Object.fromEntries(entries.map(([name, each]) => [name, each.slice(each.indexOf("=") + 1).trim()]));
}

function tables(text: string, keys: readonly string[]): unknown {
  const found = pairs(text);
  if (typeof found === "string") return text;
  return Object.fromEntries(
    Object.entries(found as Record<string, string>).map(([name, each]) => {
      const values = each.split(":").map((value) => value.trim());
      return [name, Object.fromEntries(values.map((value, index) => [keys[index] ?? `${index + 1}`, value]))];
    }),
  );
}

/** What is left empty is left out. */
function amountTables(text: string, { needs, may }: Amounts): unknown {
  const found = tables(text, [...needs, ...may]);
  if (typeof found === "string") return text;
  const amount = (given: string): unknown => (AMOUNT.test(given) ? Number(given) : given);
  return Object.fromEntries(
    Object.entries(found as Record<string, Record<string, string>>).map(([name, each]) => {
      const said = Object.entries(each).filter(([, given]) => given !== "");
      return [name, Object.fromEntries(said.map(([key, given]) => [key, amount(given)]))];
    }),
  );
}

function oneOf(schema: OptionSchema, given: unknown, where: string): string {
  const { values = [], later = [] } = schema;
  const asked = typeof given === "string" ? given.trim().toLowerCase() : null;
  if (asked !== null && values.includes(asked)) return asked;
  if (asked === null || !later.includes(asked)) throw misfit(schema, given, where);
  throw new ConfigError(`${where}: "${asked}" is not available in this version: use ${either(values)}`);
}

function fits(schema: OptionSchema, value: unknown): boolean {
  switch (schema.type) {
    case "integer":
      if (!Number.isSafeInteger(value)) return false;
      return (value as number) >= (schema.minimum ?? 0) && (value as number) <= (schema.maximum ?? Infinity);
    case "number":
      return isAmount(value);
    case "boolean":
      return typeof value === "boolean";
    case "array":
      return Array.isArray(value) && value.every((each) => typeof each === "string" && each !== "");
    case "object":
      if (schema.amounts !== undefined) return isPlain(value) && wrongAmount(schema.amounts, value) === null;
      return schema.entries === undefined ? isTexts(value) : isTables(value, schema.entries);
    default:
      return typeof value === "string" && value.length >= (schema.minLength ?? 0);
  }
}

function isTexts(value: unknown): boolean {
  return isPlain(value) && Object.values(value).every((each) => typeof each === "string");
}

function isTables(value: unknown, keys: readonly string[]): boolean {
  const fitsOne = (each: unknown): boolean =>
    isTexts(each) &&
    Object.keys(each as object)
      .toSorted()
      .join() === keys.toSorted().join();
  return isPlain(value) && Object.values(value).every(fitsOne);
}

/** The first thing that is wrong with a table of tables of amounts. */
function wrongAmount({ needs, may }: Amounts, tables: Readonly<Record<string, unknown>>): string | null {
  for (const [name, each] of Object.entries(tables)) {
    const at = JSON.stringify(shorten(name));
    if (!isPlain(each)) return `${at} must be a table with ${keysOf({ needs, may })}`;
    const missing = needs.find((key) => !Object.hasOwn(each, key));
    if (missing !== undefined) return `${at} has no ${missing}`;
    for (const [key, amount] of Object.entries(each)) {
      if (![...needs, ...may].includes(key))
        return `${at} has "${shorten(key)}": it takes ${keysOf({ needs, may })}`;
      if (!isAmount(amount))
        return `${key} of ${at} must be ${AN_AMOUNT}, not ${String(amount).slice(0, 60)}`;
    }
  }
  return null;
}

function isAmount(value: unknown): boolean {
  return typeof value === "number" && microsOf(value) !== null;
}

/** Whether it is a table, which a date is not. */
export function isPlain(value: unknown): value is Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

function misfit(schema: OptionSchema, given: unknown, where: string): ConfigError {
  return new ConfigError(`${where}: it must be ${expected(schema)}, not ${describe(given, schema)}`);
}

/** Secrets are never shown, not even wrong ones. */
function describe(given: unknown, { type, secret }: OptionSchema): string {
  if (Array.isArray(given)) return type === "array" ? "a list with something else in it" : "a list";
  if (typeof given === "object" && given !== null) {
    if (Object.getPrototypeOf(given) !== Object.prototype) return "a date or time";
    return type === "object" ? "a table with something else in it" : "a table";
  }
  if (secret === true) return `a ${typeof given}`;
  return typeof given === "string" ? `"${shorten(given)}"` : String(given);
}

function shorten(text: string): string {
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}

/** What an option takes, in words. */
function expected({
  type,
  values,
  entries,
  amounts,
  minimum = 0,
  maximum = Infinity,
  minLength = 0,
}: OptionSchema): string {
  if (values !== undefined) return either(values);
  switch (type) {
    case "integer":
      return maximum < Number.MAX_SAFE_INTEGER
        ? `a whole number from ${minimum} to ${maximum}`
        : `a whole number, ${minimum} or more`;
    case "number":
      return AN_AMOUNT;
    case "boolean":
      return "true or false";
    case "array":
      return "a list of strings";
    case "object":
      if (amounts !== undefined) return `a table of tables, each with ${keysOf(amounts)}`;
      return entries === undefined
        ? "a table of strings"
        : `a table of tables, each with ${entries.join(" and ")}`;
    default:
      return minLength > 0 ? "a string that is not empty" : "a string";
  }
}

const AN_AMOUNT = "an amount, 0 or more, with at most six decimals";

function keysOf({ needs, may }: Amounts): string {
  return needs.length === 0
    ? `some of ${may.join(", ")}`
    : `${needs.join(" and ")}, perhaps ${may.join(", ")}`;
}

function either(values: readonly string[]): string {
  const all = values.map((value) => (value === "" ? '""' : value));
  return all.length < 2 ? all.join("") : `${all.slice(0, -1).join(", ")} or ${all.at(-1)}`;
}
