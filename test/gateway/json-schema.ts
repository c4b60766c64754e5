/** The part of JSON Schema that the gateway publishes; a word that is not understood here is an error, not a pass. */
export interface JsonSchema {
  readonly [word: string]: unknown;
}

const TYPES: Readonly<Record<string, (value: unknown) => boolean>> = {
  object: isObject,
  array: Array.isArray,
  string: (value) => typeof value === "string",
  boolean: (value) => typeof value === "boolean",
  number: (value) => typeof value === "number" && Number.isFinite(value),
  integer: (value) => Number.isSafeInteger(value),
  null: (value) => value === null,
};

/** Words that say nothing about a value, and those read together with another. */
const SILENT = ["description", "default", "additionalItems", "$id", "title"];

type Check = (wanted: unknown, value: unknown, path: string, schema: JsonSchema) => string[];

const WORDS: Readonly<Record<string, Check>> = {
  type: (type, value, path) => fail(TYPES[String(type)]?.(value) === true, path, `is no ${String(type)}`),
  const: (wanted, value, path) => fail(value === wanted, path, `is not ${JSON.stringify(wanted)}`),
  anyOf: (choices, value, path) => {
    const fits = (choices as JsonSchema[]).some((each) => violations(each, value, path).length === 0);
    return fail(fits, path, "is none of those allowed");
  },
  pattern: (pattern, value, path) =>
    fail(
      typeof value !== "string" || new RegExp(String(pattern)).test(value),
      path,
      `is not like ${String(pattern)}`,
    ),
  minLength: (least, value, path) => fail(lengthOf(value) >= Number(least), path, "is too short"),
  maxLength: (most, value, path) => fail(lengthOf(value) <= Number(most), path, "is too long"),
  minItems: (least, value, path) => fail(lengthOf(value) >= Number(least), path, "has too few"),
  maxItems: (most, value, path) => fail(lengthOf(value) <= Number(most), path, "has too many"),
  minimum: (least, value, path) => fail(Number(value) >= Number(least), path, "is too small"),
  maximum: (most, value, path) => fail(Number(value) <= Number(most), path, "is too large"),
  required: (names, value, path) =>
    (names as string[]).flatMap((name) =>
      fail(!isObject(value) || Object.hasOwn(value, name), `${path}.${name}`, "is missing"),
    ),
  properties: (properties, value, path) =>
    each(value, (name, inner) => {
      const schema = own(properties, name);
      return schema === undefined ? [] : violations(schema, inner, `${path}.${name}`);
    }),
  patternProperties: (patterns, value, path) =>
    each(value, (name, inner) =>
      Object.entries(patterns as Record<string, JsonSchema>)
        .filter(([pattern]) => new RegExp(pattern).test(name))
        .flatMap(([, schema]) => violations(schema, inner, `${path}.${name}`)),
    ),
  additionalProperties: () => [],
  items: (items, value, path) => {
    if (!Array.isArray(value)) return [];
    const schemaOf = (index: number): JsonSchema =>
      (Array.isArray(items) ? (items[index] ?? {}) : items) as JsonSchema;
    return value.flatMap((inner, index) => violations(schemaOf(index), inner, `${path}[${index}]`));
  },
};

/**
 * What is wrong with a value; empty: nothing. Stricter than the standard: of an object with `properties` every field has
 * to be among them, so nothing is answered that was not published.
 */
export function violations(schema: JsonSchema, value: unknown, path = "$"): string[] {
  const found: string[] = [];
  for (const [word, wanted] of Object.entries(schema)) {
    if (SILENT.includes(word)) continue;
    const check = WORDS[word];
    if (check === undefined)
      throw new Error(`${path}: the schema says "${word}", which this check does not know`);
    found.push(...check(wanted, value, path, schema));
  }
  return [...found, ...undeclared(schema, value, path)];
}

function undeclared(schema: JsonSchema, value: unknown, path: string): string[] {
  const { properties, patternProperties = {}, additionalProperties } = schema;
  if (properties === undefined || additionalProperties === true) return [];
  const patterns = Object.keys(patternProperties as object).map((pattern) => new RegExp(pattern));
  return each(value, (name) => {
    const known = own(properties, name) !== undefined || patterns.some((pattern) => pattern.test(name));
    return fail(known, `${path}.${name}`, "was not published");
  });
}

function fail(holds: boolean, path: string, what: string): string[] {
  return holds ? [] : [`${path} ${what}`];
}

function each(value: unknown, look: (name: string, inner: unknown) => string[]): string[] {
  return isObject(value) ? Object.entries(value).flatMap(([name, inner]) => look(name, inner)) : [];
}

function own(properties: unknown, name: string): JsonSchema | undefined {
  return Object.hasOwn(properties as object, name)
    ? (properties as Record<string, JsonSchema>)[name]
    : undefined;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function lengthOf(value: unknown): number {
  return typeof value === "string" || Array.isArray(value) ? value.length : Number.NaN;
}
