import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { createWellFormed, lengthUtf8, wellFormed } from "../../src/core/text.ts";

const HIGH = "\uD83D";
const LOW = "\uDE00";

/** Any string of UTF-16 units, with surrogates and U+0000 far more often than chance would have them. */
const anyText = fc
  .array(
    fc.oneof(
      fc.constantFrom(HIGH, LOW, "\0", "\uFFFD", "a", "é", "\u{10FFFF}", "\uDBFF", "\uDC00"),
      fc.string({ unit: "binary" }),
    ),
  )
  .map((pieces) => pieces.join(""));

function split(text: string, cuts: readonly number[]): string[] {
  const at = [0, ...cuts.map((cut) => cut % (text.length + 1)).toSorted((a, b) => a - b), text.length];
  return at.slice(1).map((end, index) => text.slice(at[index], end));
}

describe("wellFormed", () => {
  test.each([
    ["plain", "plain"],
    [`${HIGH}${LOW}`, "😀"],
    [`a${HIGH}`, "a\uFFFD"],
    [`${LOW}a`, "\uFFFDa"],
    [`${LOW}${HIGH}`, "\uFFFD\uFFFD"],
    [`${HIGH}${HIGH}${LOW}`, "\uFFFD😀"],
    ["a\0b\0", "a\uFFFDb\uFFFD"],
    ["", ""],
  ])("%j becomes %j", (text, expected) => {
    expect(wellFormed(text)).toBe(expected);
  });

  test("keeps the number of units and leaves sound text alone", () => {
    fc.assert(
      fc.property(anyText, (text) => {
        const sound = wellFormed(text);
        expect(sound.isWellFormed()).toBe(true);
        expect(sound).not.toContain("\0");
        expect(sound.length).toBe(text.length);
        expect(wellFormed(sound)).toBe(sound);
      }),
    );
  });
});

describe("createWellFormed", () => {
  test("holds half a pair back until the other half comes", () => {
    const text = createWellFormed();
    expect(text.push(`a${HIGH}`)).toBe("a");
    expect(text.push("")).toBe("");
    expect(text.push(`${LOW}b`)).toBe("😀b");
    expect(text.end()).toBe("");
  });

  test("gives a half that stays alone up at the end, and begins anew", () => {
    const text = createWellFormed();
    expect(text.push(HIGH)).toBe("");
    expect(text.push(HIGH)).toBe("\uFFFD");
    expect(text.end()).toBe("\uFFFD");
    expect(text.end()).toBe("");
    expect(text.push(LOW)).toBe("\uFFFD");
  });

  test("any split of any text gives the well-formed whole, and no piece splits a pair", () => {
    fc.assert(
      fc.property(anyText, fc.array(fc.nat()), (text, cuts) => {
        const door = createWellFormed();
        const pieces = [...split(text, cuts).map((chunk) => door.push(chunk)), door.end()];
        expect(pieces.join("")).toBe(wellFormed(text));
        for (const piece of pieces) expect(piece.isWellFormed()).toBe(true);
      }),
    );
  });
});

describe("lengthUtf8", () => {
  test("counts what an encoder writes", () => {
    expect(lengthUtf8("aé€😀")).toBe(1 + 2 + 3 + 4);
    fc.assert(
      fc.property(anyText, (text) => {
        expect(lengthUtf8(text)).toBe(new TextEncoder().encode(text).length);
      }),
    );
  });
});
