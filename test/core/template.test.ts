import { describe, expect, test } from "bun:test";
import type { TemplateSource } from "../../src/core/template.ts";
import { fillTemplate, hasPlaces, templateFault } from "../../src/core/template.ts";

const HEADERS: Readonly<Record<string, string>> = { "x-kind": "push" };

function fill(template: string, body: unknown, max_chars = 1_000): string {
  const source: TemplateSource = {
    body,
    text: JSON.stringify(body) ?? "",
    header: (name) => HEADERS[name] ?? null,
  };
  return fillTemplate(template, source, max_chars).text;
}

describe("a template", () => {
  test.each([
    ["plain", {}, "plain"],
    ["{{a}}", { a: "x" }, "x"],
    ["<{{ a.b.c }}>", { a: { b: { c: 7 } } }, "<7>"],
    ["{{list.1.name}}", { list: [{}, { name: "second" }] }, "second"],
    ["{{0}}", ["first"], "first"],
    ["{{a}}", { a: { b: [1, null] } }, '{"b":[1,null]}'],
    ["{{a}}{{b}}{{c.d}}", { a: null, c: "text" }, ""],
    ["{{yes}} {{no}}", { yes: true, no: false }, "true false"],
    ["{{$body}}", { a: 1 }, '{"a":1}'],
    ["{{$header.X-Kind}}/{{$header.none}}", {}, "push/"],
    // What is put in is no template, and nobody's own property is none of the body's.
    ["{{a}}", { a: "{{b}}", b: "no" }, "{{b}}"],
    ["{{constructor}}{{__proto__}}{{a.length}}{{toString.name}}", { a: "text" }, ""],
    ["{{a}} {{ {{b}} }} {{", { a: 1, b: 2 }, "1 {{ 2 }} {{"],
  ])("%p", (template, body, expected) => {
    expect(fill(template, body)).toBe(expected);
  });

  test("is cut where it is too long, never within a character", () => {
    expect(fill("{{a}}", { a: "abc".repeat(10) }, 4)).toBe("abca");
    expect(fill("ab{{a}}", { a: "😀😀" }, 5)).toBe("ab😀");
    const huge = fillTemplate(
      "{{a}}",
      { body: { a: "x".repeat(50_000) }, text: "", header: () => null },
      99_999,
    );
    expect([huge.text.length, huge.isCut]).toEqual([16_384, true]);
  });

  test("without anything to put in it is known", () => {
    expect(["a", "{{a}}", "{{}}", "{a}"].map(hasPlaces)).toEqual([false, true, false, false]);
  });

  test("that cannot be meant is refused", () => {
    const faulty = [
      "{{$env.SECRET}}",
      "{{$header.}}",
      "{{a..b}}",
      "{{a}}".repeat(33),
      `{{${"a.".repeat(20)}b}}`,
    ];
    expect(faulty.map((template) => templateFault(template) !== null)).toEqual(faulty.map(() => true));
    expect(templateFault("{{a.b}} {{$body}} {{$header.x-github-event}}")).toBeNull();
  });
});
