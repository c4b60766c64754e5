import { expect, test } from "bun:test";
import fc from "fast-check";
import { readSkill } from "../../src/skill/front-matter.ts";

/** Whatever a SKILL.md holds: a skill as the format has it, or one line that says what is wrong. */

const PIECES = [
  "name",
  "description",
  "metadata",
  "allowed-tools",
  ":",
  " ",
  "\n",
  "  ",
  "- ",
  "a",
  '"',
  "'",
  "{",
  "}",
];
const MORE = [
  "[",
  "]",
  "*a",
  "&a ",
  "!!map ",
  "|",
  ">-",
  "#",
  "? ",
  "---",
  "\t",
  "\r\n",
  "\0",
  "\u001b",
  "ä",
  "\ud800",
  ",",
];

const yaml = fc.oneof(
  fc.array(fc.constantFrom(...PIECES, ...MORE), { maxLength: 60 }).map((pieces) => pieces.join("")),
  fc.string({ unit: "binary", maxLength: 200 }),
  fc
    .record({ name: fc.string(), description: fc.string(), metadata: fc.jsonValue() })
    .map((fields) => JSON.stringify(fields)),
);
const text = fc.oneof(
  yaml.map((front) => `---\n${front}\n---\nbody`),
  yaml.map((front) => `---\nname: a\ndescription: d\n${front}\n---\nbody`),
  fc.string({ unit: "binary", maxLength: 500 }),
);

test("is read into something sound, or refused in one line", () => {
  let sound = 0;
  fc.assert(
    fc.property(text, fc.constantFrom("a", "name"), (whole, folder) => {
      let skill;
      try {
        skill = readSkill(whole, folder);
      } catch (error) {
        const { message } = error as Error;
        expect(message).toMatch(/^[^\p{Cc}]{1,600}$/u);
        return;
      }
      sound++;
      expect(skill.name).toBe(folder);
      expect([...skill.description].length).toBeWithin(1, 1_025);
      expect(skill.description).toBe(skill.description.trim());
      expect(Object.getPrototypeOf(skill.metadata ?? {})).toBe(Object.prototype);
    }),
    { numRuns: 3_000 },
  );
  // Both happen.
  expect(sound).toBeGreaterThan(10);
});
