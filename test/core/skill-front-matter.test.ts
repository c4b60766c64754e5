import { describe, expect, test } from "bun:test";
import { readSkill } from "../../src/skill/front-matter.ts";

/** The open format of skills, read from text. */

const skill = (yaml: string, body = "Do it."): string => `---\n${yaml}\n---\n${body}\n`;
const MINIMAL = "name: a\ndescription: d";

function refusal(text: string, folder = "a"): string {
  try {
    readSkill(text, folder);
  } catch (error) {
    return (error as Error).message;
  }
  throw new Error("it was read");
}

describe("a SKILL.md", () => {
  test("with every field of the format", () => {
    const yaml = [
      "name: pdf-processing",
      'description: "Extract text: forms, tables. Use when handling PDFs."',
      "license: Apache-2.0",
      "compatibility: Requires Python 3.14+ and uv",
      "metadata:",
      "  author: example-org",
      "  version: 1.0",
      "allowed-tools: Bash(git add:*) Read",
      "unknown-to-us: {a: [1, 2]}",
    ].join("\n");
    expect(readSkill(skill(yaml, "\n# PDF\n\n---\n\nA rule is no end.\n"), "pdf-processing")).toEqual({
      name: "pdf-processing",
      description: "Extract text: forms, tables. Use when handling PDFs.",
      license: "Apache-2.0",
      compatibility: "Requires Python 3.14+ and uv",
      metadata: { author: "example-org", version: "1.0" },
      allowed_tools: ["Bash(git add:*)", "Read"],
      body: "# PDF\n\n---\n\nA rule is no end.",
    });
  });

  test.each<[string, string]>([
    ["as it is usual", skill(MINIMAL)],
    ["with a byte order mark", `\uFEFF${skill(MINIMAL)}`],
    ["of Windows", skill(MINIMAL).replaceAll("\n", "\r\n")],
    ["with blanks after the dashes", "--- \nname: a\ndescription: d\n---\t\nDo it."],
    ["with comments and quotes", skill("# mine\nname: 'a' # here\ndescription: \"d\"")],
    ["with text over several lines", skill("name: a\ndescription: >-\n  d")],
  ])("%s", (_what, text) => {
    expect(readSkill(text, "a")).toEqual({ name: "a", description: "d", body: "Do it." });
  });

  test("without a body, which ends with its front matter", () => {
    expect(readSkill("---\nname: a\ndescription: d\n---", "a").body).toBe("");
  });

  test("keeps every scalar as the text it was written as", () => {
    const { description, metadata } = readSkill(
      skill("name: '1'\ndescription: yes\nmetadata: {n: 0x10, d: 2001-01-01, e: 1e3, nil: ~, no: no}"),
      "1",
    );
    expect([description, metadata]).toEqual([
      "yes",
      { n: "0x10", d: "2001-01-01", e: "1e3", nil: "~", no: "no" },
    ]);
  });

  test("cannot reach the prototype of anything", () => {
    const { metadata } = readSkill(
      skill(`${MINIMAL}\n__proto__: {license: stolen}\nmetadata:\n  __proto__: p\n  constructor: c`),
      "a",
    );
    expect(Object.entries(metadata ?? {})).toEqual([
      ["__proto__", "p"],
      ["constructor", "c"],
    ]);
    expect(({} as { license?: string }).license).toBeUndefined();
    expect(readSkill(skill(`${MINIMAL}\n__proto__: {license: stolen}`), "a").license).toBeUndefined();
  });

  test.each<[string, string[]]>([
    ["allowed-tools: Read, Write ,Edit", ["Read", "Write", "Edit"]],
    ["allowed-tools:\n  - Bash(jq:*)\n  - Read", ["Bash(jq:*)", "Read"]],
    ["allowed-tools: ''", []],
  ])("%j", (line, tools) => {
    expect(readSkill(skill(`${MINIMAL}\n${line}`), "a").allowed_tools).toEqual(tools);
  });
});

describe("is refused, in one line that says what to do:", () => {
  const begin = 'SKILL.md must begin with a line "---", then name and description, then another "---"';
  test.each<[string, string, string]>([
    ["nothing", "", begin],
    ["no front matter", "# A skill\n", begin],
    ["too many dashes", "----\nname: a\n----\n", begin],
    ["a blank line before", `\n${skill(MINIMAL)}`, begin],
    ["no end", "---\nname: a\ndescription: d\n", 'the front matter has no end: add a line "---" after it'],
    [
      "no end within reach",
      `---\n${"x: y\n".repeat(100_000)}---\n`,
      'the front matter has no end within 16384 characters: add a line "---" after it',
    ],
    ["an empty one", "---\n---\nx", "the front matter is empty: it needs name and description"],
    ["a list", skill("- a"), 'the front matter must be "key: value" lines'],
    ["prose", skill("just words"), 'the front matter must be "key: value" lines'],
    [
      "a colon in plain text",
      skill("name: a\ndescription: Use when: asked"),
      "the front matter is no YAML at line 3: put a value that has a colon in it into quotes",
    ],
    [
      "an open bracket",
      skill("name: a\ndescription: [d"),
      "the front matter is no YAML at line 4: a quote or a bracket is not closed",
    ],
    [
      "an open quote",
      skill('name: a\ndescription: "d'),
      "the front matter is no YAML at line 4: a quote or a bracket is not closed",
    ],
    [
      "a tab",
      skill("metadata:\n\ta: b"),
      "the front matter is no YAML at line 3: tab characters must not be used in indentation",
    ],
    [
      "a key twice",
      skill(`${MINIMAL}\nname: b`),
      "the front matter is no YAML at line 4: duplicated mapping key",
    ],
    [
      "a tag",
      skill("name: !!js/function 'x'"),
      "the front matter is no YAML at line 2: unknown scalar tag !<tag:yaml.org,2002:js/function>",
    ],
    [
      "an alias",
      skill("name: &n a\ndescription: *n"),
      "the front matter is no YAML at line 3: aliases (*name) are not taken here",
    ],
    ["no name", skill("description: d"), "name: it is missing"],
    ["a name that is a list", skill("name: [a]\ndescription: d"), "name: it must be text"],
    [
      "another name than its folder's",
      skill("name: b\ndescription: d"),
      'name: "b" is not the name of its folder: rename one of the two',
    ],
    ["no description", skill("name: a"), "description: it is missing"],
    ["an empty description", skill("name: a\ndescription:"), "description: it is empty"],
    ["a blank description", skill("name: a\ndescription: '  '"), "description: it is empty"],
    [
      "a long description",
      skill(`name: a\ndescription: ${"x".repeat(1_025)}`),
      "description: it has 1025 characters, at most 1024 are allowed",
    ],
    [
      "long compatibility",
      skill(`${MINIMAL}\ncompatibility: ${"x".repeat(501)}`),
      "compatibility: it has 501 characters, at most 500 are allowed",
    ],
    [
      "metadata that is text",
      skill(`${MINIMAL}\nmetadata: m`),
      "metadata: it must be a map, of text by name",
    ],
    [
      "tools in a map",
      skill(`${MINIMAL}\nallowed-tools: {a: b}`),
      "allowed-tools: it must be names of tools, apart by spaces",
    ],
    [
      "too many tools",
      skill(`${MINIMAL}\nallowed-tools: ${"t ".repeat(257)}`),
      "allowed-tools: it has 257 names, at most 256 are allowed",
    ],
  ])("%s", (_what, text, why) => {
    expect(refusal(text)).toBe(why);
  });

  test("what a reason quotes is short, and nothing that a terminal would heed", () => {
    const why = refusal(skill(`${MINIMAL}\nx: !\u001b[2J${"a".repeat(1_000)} b`));
    expect(why).toStartWith("the front matter is no YAML at line 4: ");
    expect(why.length).toBeLessThan(300);
    expect(why).not.toContain("\u001b");
  });

  test.each(["A", "a b", "a_b", "-a", "a-", "a--b", "ä", "a/b", "..", 'a"b', "a\nb"])(
    "the name %j",
    (name) => {
      const text = skill(`name: ${JSON.stringify(name)}\ndescription: d`);
      expect(refusal(text, name)).toBe(
        `name: ${JSON.stringify(name)} must be lower-case letters, digits and single hyphens between them`,
      );
    },
  );

  test("a name of more than 64 characters; one of 64 is fine, and a description of 1,024 characters beyond the BMP", () => {
    const long = "a".repeat(65);
    expect(refusal(skill(`name: ${long}\ndescription: d`), long)).toBe(
      "name: it has 65 characters, at most 64 are allowed",
    );
    const name = long.slice(1);
    expect(readSkill(skill(`name: ${name}\ndescription: ${"🙂".repeat(1_024)}`), name).name).toBe(name);
  });
});

describe("bombs of YAML take no time:", () => {
  const laughs = (): string => {
    const lines = ["a: &a [x,x,x,x,x,x,x,x,x]"];
    for (const [before, name] of ["ab", "bc", "cd", "de", "ef", "fg", "gh"]) {
      lines.push(`${name}: &${name} [${Array(9).fill(`*${before}`).join()}]`);
    }
    return lines.join("\n");
  };
  const room = 16_000;
  test.each<[string, string]>([
    ["a billion laughs", laughs()],
    ["brackets", `a: ${"[".repeat(room)}`],
    ["maps in maps", "{a: ".repeat(room / 4)],
    ["sequences in sequences", `${"- ".repeat(room / 2)}x`],
    ["complex keys", `${"? ".repeat(room / 2)}x`],
    ["anchors", `${"&a ".repeat(room / 3)}x`],
    ["the same key", "k:\n".repeat(room / 3)],
    ["directives", "%\n".repeat(room / 2)],
    ["an alias to itself", "a: &a [*a]"],
    ["merges", "a: &a {x: y}\nb: {<<: [*a, *a, *a]}"],
  ])("%s", (_what, yaml) => {
    const began = performance.now();
    expect(refusal(skill(yaml))).toStartWith("the front matter is no YAML at line ");
    // Milliseconds where nothing else runs; a bomb would take minutes.
    expect(performance.now() - began).toBeLessThan(2_000);
  });

  test("as many keys as fit are read", () => {
    const keys = Array.from({ length: 2_000 }, (_, index) => `k${index}:`).join("\n");
    expect(readSkill(skill(`${MINIMAL}\n${keys}`), "a").name).toBe("a");
  });
});
