import type { TObject, TSchema } from "@sinclair/typebox";
import { ErrorBody } from "../protocol/errors.ts";
import type { MethodDefinition } from "../protocol/methods.ts";
import type { Operation } from "./rest-reply.ts";
import type { MethodRoute } from "./rest-routes.ts";
import { SOCKET_METHODS } from "./rest-routes.ts";

type Json = Record<string, unknown>;

/** JSON Schema as TypeBox writes it, in the words OpenAPI 3.0 has for it. */
export function openApiSchema(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(openApiSchema);
  if (schema === null || typeof schema !== "object") return schema;
  const { const: only, anyOf, patternProperties, items, ...rest } = schema as Json;
  const out: Json = {};
  for (const [key, value] of Object.entries(rest))
    out[key] = key === "default" ? value : openApiSchema(value);
  if (only !== undefined) out["enum"] = [only];
  if (patternProperties !== undefined)
    out["additionalProperties"] = openApiSchema(Object.values(patternProperties as Json)[0]);
  // A tuple has a list of schemas here, which OpenAPI has no word for.
  if (items !== undefined)
    out["items"] = Array.isArray(items) ? { anyOf: items.map(openApiSchema) } : openApiSchema(items);
  if (Array.isArray(anyOf)) Object.assign(out, unionOf(anyOf as Json[]));
  return out;
}

function unionOf(members: readonly Json[]): Json {
  const values = members.flatMap((member) => (member["const"] === undefined ? [] : [member["const"]]));
  if (values.length === members.length) return { type: typeof values[0], enum: values };
  const real = members.filter((member) => member["type"] !== "null");
  if (real.length < members.length && real.length === 1)
    return { ...(openApiSchema(real[0]) as Json), nullable: true };
  return { anyOf: members.map(openApiSchema) };
}

function jsonContent(schema: unknown): Json {
  return { "application/json": { schema: openApiSchema(schema) } };
}

const FAILURE = {
  description: "What went wrong",
  content: jsonContent({ type: "object", required: ["error"], properties: { error: ErrorBody } }),
};

export function answers(status: number, description: string, result: TSchema): Json {
  return { [status]: { description, content: jsonContent(result) }, default: FAILURE };
}

/** An answer that is an event stream. */
export function streamAnswers(description: string): Json {
  return {
    200: { description, content: { "text/event-stream": { schema: { type: "string" } } } },
    default: FAILURE,
  };
}

export function jsonBody(schema: TObject): Json {
  const required = (schema.required ?? []).length > 0;
  return { required, content: jsonContent(schema) };
}

export function parameter(
  place: "path" | "query" | "header",
  name: string,
  schema: unknown,
  required: boolean,
  doc?: string,
): Json {
  return {
    in: place,
    name,
    required,
    schema: openApiSchema(schema),
    ...(doc !== undefined && { description: doc }),
  };
}

export const SECURED = [{ bearer: [] }, { basic: [] }];

const KEY_HEADER = parameter("header", "Idempotency-Key", { type: "string", maxLength: 128 }, false);

/** What the docs say of a REST route that is a method. */
export function routeOperation(route: MethodRoute, definition: MethodDefinition): Operation {
  const { properties } = definition.params;
  const inPath = new Set(Object.values(route.fields));
  const parameters = Object.entries(route.fields).map(([name, field]) =>
    parameter("path", name, properties[field], true),
  );
  if (route.takes === "query") {
    const required = new Set(definition.params.required ?? []);
    for (const [name, schema] of Object.entries(properties)) {
      if (!inPath.has(name)) parameters.push(parameter("query", name, schema, required.has(name)));
    }
  }
  return {
    ...common(definition),
    tags: [route.path.split("/")[3] ?? "api"],
    operationId: `${route.verb.toLowerCase()} ${route.path}`,
    parameters: definition.idempotent === true ? [...parameters, KEY_HEADER] : parameters,
    ...(route.takes === "body" && { requestBody: jsonBody(without(definition.params, inPath)) }),
    responses: answers(route.status, definition.doc, definition.result),
  };
}

/** What the docs say of `POST /api/v1/rpc/<method>`. */
export function methodOperation(definition: MethodDefinition): Operation {
  return {
    ...common(definition),
    tags: ["methods"],
    operationId: definition.name,
    ...(definition.idempotent === true && { parameters: [KEY_HEADER] }),
    requestBody: jsonBody(definition.params),
    responses: answers(200, definition.doc, definition.result),
  };
}

function common(definition: MethodDefinition): Operation {
  const { name, scope, aliases = [] } = definition;
  const instead = SOCKET_METHODS.get(name);
  const also =
    aliases.length === 0 ? "" : ` Also called ${aliases.map((alias) => `\`${alias}\``).join(", ")}.`;
  const needs = scope === null ? "Any credential." : `Needs the scope \`${scope}\`.`;
  return {
    summary: definition.doc,
    description: `Method \`${name}\`. ${needs}${also}${instead === undefined ? "" : ` For sockets only: ${instead}.`}`,
    tags: [],
    security: SECURED,
    "x-method": name,
    "x-scope": scope,
  };
}

function without(schema: TObject, fields: ReadonlySet<string>): TObject {
  const properties = Object.fromEntries(
    Object.entries(schema.properties).filter(([name]) => !fields.has(name)),
  );
  const required = (schema.required ?? []).filter((name) => !fields.has(name));
  const { required: _all, ...rest } = schema;
  return { ...rest, properties, ...(required.length > 0 && { required }) } as TObject;
}
