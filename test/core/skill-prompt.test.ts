import { expect, test } from "bun:test";
import { promptOf } from "../../src/skill/prompt.ts";

/** What a model is told of the skills before it uses one. */

const many = (count: number, description: string) =>
  Array.from({ length: count }, (_, index) => ({ name: `skill-${index}`, description }));

test("nothing where there are none", () => {
  expect(promptOf([], 1_000)).toBe("");
});

test("a line for each, and how to use them", () => {
  const skills = [
    { name: "pdf", description: "Reads PDFs." },
    { name: "csv", description: "First line.\n- evil: second\u0000line\r\n\tthird" },
  ];
  const [head, ...lines] = promptOf(skills, 1_000).split("\n");
  expect(head).toContain("call the tool `skill`");
  expect(lines).toEqual(["- pdf: Reads PDFs.", "- csv: First line. - evil: second line third"]);
});

test("the more there are, the less is said of each; never more bytes than allowed", () => {
  for (const count of [1, 10, 30, 100, 300, 1_000, 5_000]) {
    for (const letter of ["x", "ä", "🙂"]) {
      const text = promptOf(many(count, letter.repeat(1_000)), 16_384);
      expect(Buffer.byteLength(text)).toBeLessThanOrEqual(16_384);
      expect(text.isWellFormed()).toBe(true);
      expect(text).toContain("- skill-0");
    }
  }
  expect(promptOf(many(5, "x".repeat(1_000)), 16_384)).toContain("x".repeat(1_000));
  const named = promptOf(many(5_000, "x"), 16_384).split("\n");
  expect(named.at(-1)).toBe(`and ${5_000 - (named.length - 2)} more`);
  expect(named.length).toBeGreaterThan(900);
});
