import { isRecord } from "./mcp-result.ts";

type Schema = Readonly<Record<string, unknown>>;

/** Keywords that hold a value to compare with; none of them costs more than the value it is compared with. */
const PLAIN = [
  "type",
  "enum",
  "const",
  "required",
  "minimum",
  "maximum",
  "exclusiveMinimum",
  "exclusiveMaximum",
  "minLength",
  "maxLength",
  "minItems",
  "maxItems",
  "minProperties",
  "maxProperties",
] as const;

/**
 * What of a tool server's schema arguments are checked against here, before the server checks the rest. A hostile
 * server may have written it, so what could keep the thread busy is left out: regular expressions (`pattern`,
 * `format`), references (which may go in circles or fan out), and comparisons of every item with every other. What is
 * left lets through all that the whole schema lets through.
 */
export function checkable(schema: Schema): Schema {
  const { properties, patternProperties, additionalProperties, items, prefixItems } = schema;
  const parts: [string, unknown][] = PLAIN.filter((keyword) => isSound(keyword, schema[keyword])).map(
    (keyword) => [keyword, schema[keyword]],
  );
  if (isRecord(properties)) parts.push(["properties", own(properties)]);
  // Names that a pattern allows are not known here.
  if (isRecord(properties) && patternProperties === undefined && isSchema(additionalProperties)) {
    const inherited = Object.keys(properties).some((name) => name in Object.prototype);
    if (!inherited) parts.push(["additionalProperties", part(additionalProperties)]);
  }
  if (Array.isArray(prefixItems)) parts.push(["prefixItems", prefixItems.map(part)]);
  if (isSchema(items)) parts.push(["items", part(items)]);
  if (isAlternatives(schema["allOf"])) parts.push(["allOf", schema["allOf"].map(part)]);
  // Of one that fits exactly, more may fit once parts of them are left out.
  const any = [schema["anyOf"], schema["oneOf"]].filter(isAlternatives);
  if (any.length === 1) parts.push(["anyOf", any[0]?.map(part)]);
  return Object.fromEntries(parts);
}

/** Names that every object has would be found in arguments that lack them. */
function own(properties: Schema): Schema {
  return Object.fromEntries(
    Object.entries(properties)
      .filter(([name]) => !(name in Object.prototype))
      .map(([name, each]) => [name, part(each)]),
  );
}

function part(schema: unknown): unknown {
  if (typeof schema === "boolean") return schema;
  return isRecord(schema) ? checkable(schema) : true;
}

function isSchema(value: unknown): boolean {
  return typeof value === "boolean" || isRecord(value);
}

function isAlternatives(value: unknown): value is unknown[] {
  return Array.isArray(value) && value.length > 0;
}

/** A keyword whose value makes no sense says nothing. */
function isSound(keyword: (typeof PLAIN)[number], value: unknown): boolean {
  switch (keyword) {
    case "type":
      return typeof value === "string" || isTexts(value);
    case "required":
      return isTexts(value);
    case "enum":
      return Array.isArray(value);
    case "const":
      return value !== undefined;
    default:
      return typeof value === "number";
  }
}

function isTexts(value: unknown): boolean {
  return Array.isArray(value) && value.every((each) => typeof each === "string");
}
