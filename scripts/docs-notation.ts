import type { TSchema } from "@sinclair/typebox";
import * as entities from "../src/protocol/entities.ts";
import { Attachment } from "../src/protocol/api/attachment.ts";
import { ErrorBody } from "../src/protocol/errors.ts";
import { Epoch, Id, Metadata, ScopeSchema, SessionId, User } from "../src/protocol/schema.ts";

/** What the reference shows of a JSON Schema: TypeScript's notation, with bounds as comments. */
interface Schema {
  readonly type?: string;
  readonly const?: unknown;
  readonly anyOf?: readonly Schema[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly patternProperties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly items?: Schema | readonly Schema[];
  readonly default?: unknown;
  readonly description?: string;
  readonly pattern?: string;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly maxItems?: number;
}

/** Types with a name of their own, in the order the reference tells them. */
const NAMED: readonly (readonly [name: string, schema: TSchema, doc: string])[] = [
  ["SessionId", SessionId, "the owner's own name for a session, or the gateway's, which begins with ses_"],
  ["Epoch", Epoch, "which log a seq belongs to"],
  ["Id", Id, "opaque: made by the gateway, but for idempotency keys, which are the client's"],
  ["User", User, "whose data it is"],
  ["Metadata", Metadata, "any JSON object; the gateway only keeps it"],
  ["Scope", ScopeSchema, "a permission"],
  ["Role", entities.Role, "who speaks"],
  ["RunStatus", entities.RunStatus, "queued and running go on, the others are ends"],
  ["Usage", entities.Usage, "tokens of a run"],
  ["Part", entities.Part, "a piece of a message"],
  ["Attachment", Attachment, "an upload, which a message may name"],
  ["Message", entities.Message, "an entry of the history"],
  ["Run", entities.Run, "one execution of the agent"],
  ["Approval", entities.Approval, "a tool call that waits for an answer"],
  ["Session", entities.Session, "a conversation with its settings"],
  ["Snapshot", entities.Snapshot, "a session at one head"],
  ["Error", ErrorBody, "why something was refused"],
  [
    "EventMessage",
    entities.EventMessage,
    "a Message inside an event: session_id and seq are those of the frame",
  ],
  ["EventRun", entities.EventRun, "a Run inside an event: session_id is that of the frame"],
  ["EventSession", entities.EventSession, "a Session inside an event: the rest follows from the frames"],
];

/** By what the schema says: an optional field holds a copy of it. */
const NAMES = new Map(NAMED.map(([name, schema]) => [JSON.stringify(schema), name]));

/** Every named type with its definition, as a code block. */
export function namedTypes(): string {
  const lines = NAMED.map(([name, schema, doc]) => {
    const { description: _said, ...bare } = schema as Schema;
    const note = bare.type === "string" ? notesOf(bare) : "";
    return `// ${doc}\ntype ${name} = ${spell(bare, "")}${note === "" ? "" : ` // ${note}`}\n`;
  });
  return `\`\`\`ts\n${lines.join("\n")}\`\`\``;
}

/** A schema over several lines; `{}` for an object without fields. */
export function typeOf(schema: TSchema): string {
  return named(schema) ?? spell(schema, "");
}

/** A schema in one line, without comments. */
export function inlineType(schema: TSchema): string {
  return inline(schema);
}

function named(schema: Schema): string | undefined {
  const { description: _said, default: _value, ...bare } = schema;
  return NAMES.get(JSON.stringify(schema)) ?? NAMES.get(JSON.stringify(bare));
}

function spell(schema: Schema, indent: string): string {
  const { properties } = schema;
  if (properties === undefined || Object.keys(properties).length === 0) return inner(schema, indent);
  const required = new Set(schema.required);
  const deeper = `${indent}  `;
  const lines = Object.entries(properties).map(([name, each]) => {
    const field = `${deeper}${name}${required.has(name) ? "" : "?"}: ${named(each) ?? spell(each, deeper)}`;
    const note = noteOf(each);
    return note === "" ? field : `${field} // ${note}`;
  });
  return `{\n${lines.join("\n")}\n${indent}}`;
}

/** Everything that is not an object with fields. */
function inner(schema: Schema, indent: string): string {
  const { type, anyOf, items, patternProperties } = schema;
  const spelled = (each: Schema): string => named(each) ?? spell(each, indent);
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (anyOf !== undefined)
    return anyOf.map(anyOf.some(hasFields) ? (each) => inline(each) : spelled).join(" | ");
  if (Array.isArray(items)) return `[${(items as Schema[]).map(spelled).join(", ")}]`;
  if (type === "array") return arrayOf(spelled((items ?? {}) as Schema));
  if (patternProperties !== undefined)
    return `{ [name: string]: ${spelled(Object.values(patternProperties)[0] ?? {})} }`;
  if (type === "object") return schema.properties === undefined ? "object" : "{}";
  return type ?? "any";
}

function inline(schema: Schema): string {
  const known = named(schema);
  if (known !== undefined) return known;
  const { properties } = schema;
  if (properties === undefined || Object.keys(properties).length === 0) return inner(schema, "");
  const required = new Set(schema.required);
  const fields = Object.entries(properties).map(
    ([name, each]) => `${name}${required.has(name) ? "" : "?"}: ${inline(each)}`,
  );
  return `{ ${fields.join(", ")} }`;
}

function hasFields(schema: Schema): boolean {
  return schema.properties !== undefined;
}

function arrayOf(element: string): string {
  return element.includes(" | ") ? `(${element})[]` : `${element}[]`;
}

/** Default, bounds and meaning of a field, where its type does not say them. */
function noteOf(schema: Schema): string {
  if (named(schema) === undefined) return notesOf(schema);
  return notesOf({ ...(schema.default !== undefined && { default: schema.default }) });
}

function notesOf(schema: Schema): string {
  const { default: value, description = "", pattern = "" } = schema;
  const said = value === undefined ? "" : `default ${JSON.stringify(value)}`;
  return [said, boundsOf(schema), pattern, description].filter((note) => note !== "").join("; ");
}

function boundsOf({ minimum = 0, maximum, minLength = 0, maxLength, maxItems }: Schema): string {
  if (maximum !== undefined && maximum < Number.MAX_SAFE_INTEGER) return `${minimum} to ${maximum}`;
  if (minimum > 0) return `at least ${minimum}`;
  if (maxLength !== undefined)
    return minLength > 0 ? `${minLength} to ${maxLength} characters` : `at most ${maxLength} characters`;
  if (minLength > 0) return "not empty";
  return maxItems === undefined ? "" : `at most ${maxItems}`;
}
