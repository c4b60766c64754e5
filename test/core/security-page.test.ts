import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { SCOPES } from "../../src/protocol/schema.ts";

const ROOT = resolve(import.meta.dir, "../..");
const read = (file: string): string => readFileSync(resolve(ROOT, file), "utf8");
const PAGE = read("SECURITY.md");

interface Claim {
  readonly text: string;
  readonly proofs: { readonly file: string; readonly title: string }[];
}

function claims(): Claim[] {
  const found: Claim[] = [];
  for (const line of PAGE.slice(PAGE.indexOf("\n## Claims")).split("\n")) {
    const [, file = "", title = ""] = /^ {2}- `(test\/\S+\.ts)`: (.+)$/.exec(line) ?? [];
    if (line.startsWith("- ")) found.push({ text: line.slice(2), proofs: [] });
    else if (file !== "") found.at(-1)?.proofs.push({ file, title });
    else if (!/^(?:|#.*|Each claim is followed .*)$/.test(line)) throw new Error(`what is this? ${line}`);
  }
  return found;
}

/** Whether a file has a test or a group of tests with this title. */
function has(file: string, title: string): boolean {
  const source = read(file);
  const quoted = JSON.stringify(title);
  return [...source.matchAll(/\(\s*(?=")/g)].some(({ index, 0: open }) =>
    source.startsWith(`${quoted},`, index + open.length),
  );
}

describe("SECURITY.md", () => {
  test("names for each claim tests that are there", () => {
    const all = claims();
    expect(all.length).toBeGreaterThan(30);
    expect(all.filter(({ proofs }) => proofs.length === 0).map(({ text }) => text)).toEqual([]);
    const named = all.flatMap(({ proofs }) => proofs);
    expect(named.filter(({ file, title }) => !has(file, title))).toEqual([]);
  });

  test("would notice one that is gone", () => {
    expect(has("test/core/security-page.test.ts", "would notice one that is gone")).toBe(true);
    expect(has("test/core/security-page.test.ts", "would notice one")).toBe(false);
    expect(() => has("test/core/no-such.test.ts", "x")).toThrow();
  });

  test("speaks of options and files that exist", () => {
    const options = [...PAGE.matchAll(/`((?:server|auth|tools|gateway|limits)\.[a-z_.]+)`/g)];
    const table = read("README.md");
    const unknown = options
      .map(([, option = ""]) => option)
      .filter((option) => !(SCOPES as readonly string[]).includes(option))
      .filter((option) => !table.includes(`| \`${option}\``) && !table.includes(`| \`${option}.`));
    expect(options.length).toBeGreaterThan(5);
    expect(unknown).toEqual([]);
    for (const [, file = ""] of PAGE.matchAll(/\]\(([\w/.]+)(?:#[\w-]+)?\)/g))
      expect(read(file)).not.toBe("");
  });
});
