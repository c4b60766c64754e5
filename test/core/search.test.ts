import { describe, expect, test } from "bun:test";
import { snippetOf, termsOf, wordsOf } from "../../src/core/search.ts";

function folds(text: string): string[] {
  return wordsOf(text).map(({ fold }) => fold);
}

/** What is found in a text, as it stands there. */
function found(text: string, query: string): string[] | null {
  const terms = termsOf(query);
  if (terms === null) return null;
  const shown = snippetOf(text, terms);
  return shown && shown.matches.map(({ off, length }) => shown.snippet.slice(off, off + length));
}

test("words have no case and no accents; where scripts put no spaces every character is one", () => {
  expect(folds("Crème BRÛLÉE, don't foo-bar_2")).toEqual(["creme", "brulee", "don", "t", "foo", "bar", "2"]);
  expect(folds("日本語 ok")).toEqual(["日", "本", "語", "ok"]);
  expect(folds("ภาษา")).toHaveLength(4);
  expect(folds("👩‍👧 … \u0000")).toEqual([]);
});

describe("a query", () => {
  test.each([
    ["one two", "two and one", ["two", "one"]],
    ["one three", "two and one", null],
    ['"one two"', "two one two", ["one two"]],
    ['"one two"', "one and two", null],
    ["foo-bar", "a foo bar", ["foo bar"]],
    ["begi", "the Beginning", ["Beginning"]],
    ["beg", "the Beginning", null],
    ["begi ", "the Beginning", null],
    ["begi", "begi", ["begi"]],
    ["日本", "これは日本語です", ["日本"]],
    ["本日", "これは日本語です", null],
    ["creme", "a Crème", ["Crème"]],
  ])("%s in %s", (query, text, shown) => {
    expect(found(text, query)).toEqual(shown);
  });

  test("without a word, or with very many", () => {
    expect(termsOf("… ()*\"'")).toBeNull();
    expect(termsOf("a ".repeat(100))?.phrases).toHaveLength(16);
  });
});

test("a snippet begins before what is found, holds only whole matches, and no half characters", () => {
  const text = `${"😀".repeat(200)} needle ${"x ".repeat(300)} needle`;
  const terms = termsOf("needle")!;
  const { snippet, matches } = snippetOf(text, terms)!;
  expect(snippet.isWellFormed()).toBe(true);
  expect(snippet.length).toBeLessThanOrEqual(241);
  expect(matches.map(({ off, length }) => snippet.slice(off, off + length))).toEqual(["needle"]);
});
