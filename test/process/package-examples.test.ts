import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { blocksOf, ROOT, showsAs } from "../gateway/docs.blocks.ts";
import type { Project } from "../support/package.ts";
import { installPackage } from "../support/package.ts";

/** A program in a document, and what it prints where the document shows that. */
interface Example {
  readonly at: string;
  readonly file: string;
  readonly text: string;
  readonly output: string | null;
}

const EXAMPLES = ["README.md", "docs/embedding.md", "docs/plugins.md"].flatMap((document): Example[] =>
  blocksOf(document).flatMap(({ words, text, at }, index, all) => {
    if (words[0] !== "ts") return [];
    const next = all[index + 1];
    const output = next?.words.join(" ") === "text output" ? next.text : null;
    return [{ at, file: `${at.replaceAll(/[^A-Za-z0-9]/g, "-")}.ts`, text, output }];
  }),
);

/** Where functions are documented for programs that embed a gateway. */
const DOCUMENTED = ["auth", "chat", "connections", "create", "gateway"].map((name) => `src/embed/${name}.ts`);
/** What stands around an example there. */
const AROUND = `import { createGateway } from "agentbus";
import type { Gateway } from "agentbus";
declare const gateway: Gateway, sessionId: string, token: string, request: { readonly ip: string };
`;
const STRICT = {
  module: "Preserve",
  lib: ["ESNext"],
  types: ["bun-types"],
  noUncheckedIndexedAccess: true,
  exactOptionalPropertyTypes: true,
  noPropertyAccessFromIndexSignature: true,
  verbatimModuleSyntax: true,
};

/** The compiler and whole programs, on a machine that has much else to do. */
const SLOW_MS = 180_000;
setDefaultTimeout(SLOW_MS);

let project: Project;
beforeAll(async () => {
  project = await installPackage();
}, SLOW_MS);
afterAll(() => project?.[Symbol.asyncDispose]());

/** The text after each `@example`, without what makes it a comment. */
function examplesIn(file: string): string[] {
  const comments = readFileSync(join(ROOT, file), "utf8").matchAll(/\/\*\*[^]*?\*\//g);
  return [...comments].flatMap(([comment]) => {
    const text = comment.replaceAll(/^\s*(?:\/\*\*|\*\/|\*) ?|\s*\*\/$/gm, "");
    return text
      .split(/^@example\b/m)
      .slice(1)
      .map((each) => each.split(/^@\w+/m, 1)[0]?.trim() ?? "");
  });
}

describe("the examples of the documents", () => {
  test("have types that hold", async () => {
    expect(EXAMPLES.length).toBeGreaterThan(8);
    for (const { file, text } of EXAMPLES) await project.write(file, `export {};\n${text}\n`);
    expect(
      await project.check(
        EXAMPLES.map(({ file }) => file),
        STRICT,
      ),
    ).toBe("");
  });

  for (const { at, file, text, output } of EXAMPLES) {
    test(`${at} runs`, async () => {
      const path = await project.write(file, `${text}\n`);
      const { code, out, err } = await project.run([process.execPath, path]);
      expect([code, err]).toEqual([0, ""]);
      if (output !== null) expect({ out, as: showsAs(output, out) }).toEqual({ out, as: true });
    });
  }
});

test("the examples beside the functions have types that hold", async () => {
  const examples = DOCUMENTED.flatMap(examplesIn);
  expect(examples.length).toBeGreaterThan(5);
  const files = examples.map((_, index) => `beside-${index}.ts`);
  for (const [index, text] of examples.entries()) {
    const own = text.includes("const gateway =") ? AROUND.replace("gateway: Gateway, ", "") : AROUND;
    const declared = text.includes("const { sessionId }") ? own.replace("sessionId: string, ", "") : own;
    await project.write(files[index] ?? "", `${declared}export const example = async () => {\n${text}\n};\n`);
  }
  expect(await project.check(files, STRICT)).toBe("");
});

test("an executable made with the package, and the threads of its storage beside it, runs", async () => {
  const example = EXAMPLES.find(({ at }) => at.startsWith("README.md"));
  await project.write("program.ts", example?.text ?? "");
  const names = ["store/sqlite/writer", "store/sqlite/reader", "plugin/watchdog", "plugin/isolate"];
  const threads = names.map((name) => `node_modules/agentbus/lib/${name}.js`);
  const { code, err } = await project.run([
    process.execPath,
    "build",
    "--compile",
    "program.ts",
    ...threads,
    "--asset",
    "node_modules/agentbus/lib/console",
    "--outfile",
    "program",
  ]);
  expect({ code, err }).toMatchObject({ code: 0 });
  const { out } = await project.run([join(project.directory, "program")]);
  expect({ out, as: showsAs(example?.output ?? "", out) }).toEqual({ out, as: true });
});
