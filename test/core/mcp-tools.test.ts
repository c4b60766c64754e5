import { Validator } from "@cfworker/json-schema";
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { resultText } from "../../src/tool/mcp-result.ts";
import { checkable } from "../../src/tool/mcp-schema.ts";
import { readTools } from "../../src/tool/mcp-tools.ts";

type Schema = Record<string, unknown>;

const names = fc.constantFrom("a", "b", "toString");
const value = fc.letrec((tie) => ({
  any: fc.oneof(
    { maxDepth: 3 },
    fc.constantFrom<unknown>(null, true, 0, 1, 2.5, "", "a", "ab", "zz"),
    fc.array(tie("any"), { maxLength: 3 }),
    fc.dictionary(names, tie("any"), { maxKeys: 3 }),
  ),
})).any;

/** Schemas with what is kept, what is left out, and each within the other. */
const schema = schemaOf(2);

function schemaOf(depth: number): fc.Arbitrary<Schema> {
  const flat = {
    type: fc.constantFrom("object", "array", "string", "number", ["string", "null"]),
    enum: fc.array(value, { minLength: 1, maxLength: 2 }),
    const: value,
    required: fc.uniqueArray(names, { maxLength: 2 }),
    minimum: fc.constantFrom(0, 1),
    maxLength: fc.constantFrom(0, 1),
    maxItems: fc.constantFrom(0, 1),
    pattern: fc.constantFrom("^a$", "b"),
    uniqueItems: fc.boolean(),
  };
  if (depth === 0) return some(flat);
  const part = schemaOf(depth - 1);
  const parts = fc.array(part, { minLength: 1, maxLength: 2 });
  const nested = {
    properties: fc.dictionary(fc.constantFrom("a", "b"), part, { maxKeys: 2 }),
    patternProperties: fc.dictionary(fc.constantFrom("^a", "b"), part, { maxKeys: 1 }),
    additionalProperties: fc.oneof(fc.boolean(), part),
    items: part,
    prefixItems: parts,
    not: part,
    if: part,
    then: part,
    allOf: parts,
    anyOf: parts,
    oneOf: parts,
  };
  return fc.tuple(some(flat), some(nested)).map(([one, other]) => ({ ...one, ...other }));
}

/** Two of these keywords at most, so that something fits. */
function some(keywords: Record<string, fc.Arbitrary<unknown>>): fc.Arbitrary<Schema> {
  return fc
    .uniqueArray(fc.constantFrom(...Object.keys(keywords)), { maxLength: 2 })
    .chain((chosen) =>
      fc.record(Object.fromEntries(chosen.map((key) => [key, keywords[key] ?? fc.constant(0)]))),
    );
}

const fits = (against: Schema, instance: unknown): boolean =>
  new Validator(against, "2020-12").validate(instance).valid;

describe("what of a tool server's schema is checked here", () => {
  test("lets through all that the whole lets through", () => {
    fc.assert(
      fc.property(schema, value, (whole, instance) => {
        fc.pre(fits(whole, instance));
        expect(fits(checkable(whole), instance)).toBe(true);
      }),
      { numRuns: 2_000 },
    );
  });

  test("refuses what a model usually gets wrong", () => {
    const whole = {
      type: "object",
      properties: {
        path: { type: "string", minLength: 1 },
        mode: { enum: ["r", "w"] },
        lines: { type: "array", items: { type: "integer", minimum: 1 } },
      },
      required: ["path"],
      additionalProperties: false,
    };
    expect(checkable(whole)).toEqual(whole);
    const wrong = [
      {},
      { path: "" },
      { path: 1 },
      { path: "a", mode: "x" },
      { path: "a", lines: [0] },
      { path: "a", b: 1 },
    ];
    expect(wrong.map((args) => fits(checkable(whole), args))).toEqual(wrong.map(() => false));
    expect(fits(checkable(whole), { path: "a", mode: "r", lines: [1] })).toBe(true);
  });

  test("names that only a pattern knows are let through", () => {
    const whole = { properties: { a: {} }, patternProperties: { "^b": {} }, additionalProperties: false };
    expect(fits(checkable(whole), { a: 1, b: 2 })).toBe(true);
  });

  test("follows nothing, and runs no expression", () => {
    const hostile = {
      $ref: "#",
      $defs: { a: { $ref: "#/$defs/a" } },
      pattern: "(",
      format: "regex",
      $id: "x",
      $anchor: "y",
    };
    expect(checkable({ type: "object", ...hostile, properties: { a: hostile } })).toEqual({
      type: "object",
      properties: { a: {} },
    });
  });
});

describe("tools of a server", () => {
  test("are read whatever it sent, and are within bounds", () => {
    const listed = fc.array(
      fc.oneof(
        fc.anything(),
        fc.record({ name: fc.anything(), description: fc.anything(), inputSchema: fc.anything() }),
      ),
    );
    fc.assert(
      fc.property(listed, (each) => {
        for (const { name } of readTools("s", each).tools) expect(name).toMatch(/^s\.[A-Za-z0-9_-]{1,64}$/);
      }),
    );
  });

  test("weigh so much in all", () => {
    const inputSchema = { type: "object", description: "x".repeat(30_000) };
    const { tools, left_out } = readTools(
      "s",
      Array.from({ length: 20 }, (_, n) => ({ name: `t${n}`, inputSchema })),
    );
    expect(tools).toHaveLength(17);
    expect(left_out).toBe(
      "left out: s.t17: all together are too large, s.t18: all together are too large, s.t19: all together are too large",
    );
  });
});

describe("results", () => {
  const text = (said: string) => ({ type: "text", text: said });
  test.each<[unknown, string]>([
    [{ content: [] }, ""],
    [{ content: [text("a"), text("b")] }, "a\nb"],
    [{ content: [text('{"n":1}')], structuredContent: { n: 1 } }, '{"n":1}'],
    [{ content: [], structuredContent: { n: 1 } }, '{"n":1}'],
    [{ structuredContent: [1] }, "[1]"],
    [
      { content: [{ type: "audio", mimeType: "audio/wav", data: "AAAA" }] },
      "[audio audio/wav 3 bytes, not shown]",
    ],
    [
      { content: [{ type: "resource_link", name: "log", uri: "file:///log", mimeType: "text/plain" }] },
      "[link log file:///log text/plain]",
    ],
    [
      { content: [{ type: "resource", resource: { uri: "x:y", blob: "AAAA" } }] },
      "[resource x:y 3 bytes, not shown]",
    ],
    [{ content: [{ type: "new\nkind" }, null, 7, { type: "text", text: 7 }] }, "[new kind]"],
  ])("%j", (result, told) => {
    expect(resultText(result)).toBe(told);
  });

  test("failures are told in the tool's words", () => {
    expect(() => resultText({ content: [text("no")], isError: true })).toThrow("no");
    expect(() => resultText({ content: [], isError: true })).toThrow("the tool failed and does not say why");
    for (const none of [null, 7, "x", [], { content: "x" }])
      expect(() => resultText(none)).toThrow("no result");
  });
});
