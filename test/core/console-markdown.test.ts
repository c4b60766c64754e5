import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { lexer } from "marked";
import { addressOf } from "../../src/console/markdown/address.ts";
import { Blocks, healed } from "../../src/console/markdown/blocks.ts";
import { withoutEntities } from "../../src/console/markdown/entities.ts";

const PIECES = [
  "word ",
  "**bold** ",
  "\n",
  "\n\n",
  "- item\n",
  "  - deeper\n",
  "1. first\n",
  "```ts\n",
  "code();\n",
  "```\n",
  "> quote\n",
  "# Head\n",
  "| a | b |\n",
  "| - | - |\n",
  "---\n",
  "===\n",
  "    indented\n",
  "<b>x</b> ",
  "\t",
];

const DOCUMENT = `Here is a **limiter**, with a *bucket*:

\`\`\`ts
/** At most so many. */
export class Bucket {

  take(): boolean {
    return true; // - no list
  }
}
\`\`\`

How it compares
---------------

| Algorithm | Memory |
| --- | ---: |
| Token bucket | O(1) |

1. Fill the bucket.
2. Take one.

   A paragraph in the second.
   - none left
   - else

> Use one **per user**,
> not per connection.
lazily

- loose

- list

# Head
The [end](https://example.com), and \`code\`.
`;

describe("Markdown that grows", () => {
  test("is read as marked reads it", () => {
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom(...PIECES, "  ===\n", "---- \t\n", "\n \n"), { maxLength: 40 }),
        (pieces) => {
          const text = pieces.join("");
          expect(new Blocks().of(text, true)).toEqual([...lexer(text)] as never);
        },
      ),
      { numRuns: 2_000 },
    );
  });

  test("is read as if it had come at once, however it was cut", () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...PIECES), { maxLength: 40 }), (pieces) => {
        const growing = new Blocks();
        let text = "";
        for (const piece of pieces) {
          text += piece;
          growing.of(text, false);
        }
        const whole = new Blocks().of(text, true);
        expect(growing.of(text, true)).toEqual(whole as never);
      }),
      { numRuns: 1_000 },
    );
  });

  test("is shown on the way as it would be if it had come at once", () => {
    const types = (tokens: readonly { type: string; raw: string }[]): unknown =>
      tokens.filter(({ type }) => type !== "space").map(({ type, raw }) => [type, raw.trim()]);
    const growing = new Blocks();
    for (let end = 1; end <= DOCUMENT.length; end++) {
      const text = DOCUMENT.slice(0, end);
      expect([end, types(growing.of(text, false))]).toEqual([end, types(new Blocks().of(text, false))]);
    }
  });

  test("keeps the blocks that say the same", () => {
    const blocks = new Blocks();
    const before = blocks.of("one\n\ntwo\n\nthree", false);
    const after = blocks.of("one\n\ntwo\n\nthree and more", false);
    expect(after[0]).toBe(before[0] as never);
    expect(after[2]).toBe(before[2] as never);
    expect(after[4]).not.toBe(before[4] as never);
  });

  test("is shown as if it ended well", () => {
    const [open] = new Blocks().of("Some **bo", false);
    expect(JSON.stringify(open && healed(open))).toContain('"type":"strong"');
  });

  test.each([
    ["quotes", ">".repeat(100_000)],
    ["lists", "- ".repeat(50_000)],
    ["brackets", "[".repeat(100_000)],
    ["stars", "*a ".repeat(40_000)],
    ["underscores", "_a*".repeat(40_000)],
    ["paragraphs of them", `${"_a*".repeat(1_300)}\n\n`.repeat(30)],
    ["links", "[a](".repeat(30_000)],
    ["entities", "&#x41;".repeat(20_000)],
    ["a table", `|${"a|".repeat(5_000)}\n|${"-|".repeat(5_000)}`],
  ])("takes no longer than people notice: %s", (_name, text) => {
    const began = performance.now();
    const tokens = new Blocks().of(text, true);
    const last = tokens.at(-1);
    if (last !== undefined) healed(last);
    // Without its bounds each of them takes minutes, or half of one. A machine may have much else to do.
    expect(performance.now() - began).toBeLessThan(25_000);
    expect(tokens.map(({ raw }) => raw).join("").length).toBeGreaterThan(text.length / 2);
  });
});

describe("links", () => {
  test.each([
    ["https://example.com/a?b#c", "https://example.com/a?b#c"],
    ["mailto:ada@example.com", "mailto:ada@example.com"],
    ["javascript:alert(1)", null],
    ["JavaScript:alert(1)", null],
    ["java\nscript:alert(1)", null],
    ["data:text/html,x", null],
    ["blob:https://example.com/x", null],
    ["file:///etc/passwd", null],
    ["//example.com", null],
    ["/docs", null],
    ["#/gateway", null],
    ["https://user:secret@example.com", null],
  ])("%s leads to %p", (href, address) => {
    expect(addressOf(href)).toBe(address);
  });
});

test("character references are what they stand for; unknown and impossible ones do no harm", () => {
  expect(withoutEntities("&lt;b&gt; &amp;amp; &#65;&#x42; &nope; &#xD800; &#0; &#x110000;")).toBe(
    "<b> &amp; AB &nope; \ufffd \ufffd \ufffd",
  );
});
