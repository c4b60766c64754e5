import { describe, expect, test } from "bun:test";
import { mkdir, rm, symlink } from "node:fs/promises";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import type { Tool, ToolSource } from "../../src/core/ports.ts";
import { SKILL_TOOLS, createSkillTools } from "../../src/skill/tools.ts";
import type { SkillWorld } from "./skill.fixture.ts";
import { openSkills, skillText } from "./skill.fixture.ts";

/** The tool `skill`, as a model calls it. */

function sourceOf(world: SkillWorld, names: readonly string[] = SKILL_TOOLS): ToolSource {
  return createSkillTools({ catalogue: world.catalogue, limits: DEFAULT_LIMITS, names: new Set(names) });
}

function toolOf(world: SkillWorld, name: string): Tool {
  const tool = sourceOf(world)
    .tools()
    .find((each) => each.name === name);
  if (tool === undefined) throw new Error(`there is no ${name}`);
  return tool;
}

function read(world: SkillWorld, args: Record<string, unknown>): Promise<string> {
  const { signal } = new AbortController();
  return toolOf(world, "skill").run(args, { signal, session_id: "s", run_id: "r" });
}

async function pdf(): Promise<SkillWorld> {
  const world = await openSkills();
  await world.write(
    "skills/pdf/SKILL.md",
    skillText("pdf", "d", "Read references/guide.md, then run scripts/go.py."),
  );
  await world.write("skills/pdf/references/guide.md", "# Guide\n");
  await world.write("skills/pdf/scripts/go.py", "print(1)\n");
  await world.write("skills/pdf/.git/config", "x");
  await world.write("skills/pdf/node_modules/a/b.js", "x");
  await world.catalogue.start();
  return world;
}

test("nothing is offered or said where there are no skills, and only what is wished otherwise", async () => {
  await using none = await openSkills();
  await none.catalogue.start();
  expect([sourceOf(none).tools(), sourceOf(none).prompt?.()]).toEqual([[], ""]);
  await using world = await pdf();
  const names = (source: ToolSource): string[] => source.tools().map(({ name }) => name);
  expect(names(sourceOf(world))).toEqual(["skill", "skill_run"]);
  expect(names(sourceOf(world, ["skill"]))).toEqual(["skill"]);
  expect([names(sourceOf(world, [])), sourceOf(world, []).prompt?.()]).toEqual([[], ""]);
  expect(sourceOf(world).prompt?.()).toEndWith("\n- pdf: d");
});

test("what is said follows the skills", async () => {
  await using world = await pdf();
  const source = sourceOf(world);
  expect(source.prompt?.()).toEndWith("\n- pdf: d");
  await world.write("skills/csv/SKILL.md", skillText("csv", "c"));
  await rm(world.path("skills/pdf"), { recursive: true });
  await world.catalogue.reload();
  expect(source.prompt?.()).toEndWith("\n- csv: c");
});

test("the instructions, and the files beside them", async () => {
  await using world = await pdf();
  expect(await read(world, { name: "pdf" })).toBe(
    [
      "Read references/guide.md, then run scripts/go.py.",
      "",
      "Files of this skill (read one with skill and file; run a script with skill_run):",
      "- references/guide.md (8 bytes)",
      "- scripts/go.py (9 bytes)",
    ].join("\n"),
  );
  expect(await read(world, { name: "pdf", file: "references/guide.md" })).toBe("# Guide\n");
});

test("of one that broke the last good version is read", async () => {
  await using world = await pdf();
  await world.write("skills/pdf/SKILL.md", "broken");
  await world.catalogue.reload();
  expect(await read(world, { name: "pdf" })).toStartWith("Read references/guide.md");
});

test("of one that is gone there is nothing, and the model is told what there is", async () => {
  await using world = await pdf();
  await world.write("skills/csv/SKILL.md", skillText("csv"));
  await world.catalogue.reload();
  await rm(world.path("skills/pdf"), { recursive: true });
  await world.catalogue.reload();
  expect(read(world, { name: "pdf" })).rejects.toThrow('there is no skill "pdf"; there are csv');
  expect(read(world, { name: "__proto__" })).rejects.toThrow("there is no skill");
});

describe("a file that is asked for", () => {
  test.each<[string, string]>([
    ["../csv/SKILL.md", "is no path within the skill's folder"],
    ["/etc/passwd", "is no path within the skill's folder"],
    ["out/secret", "is a link out of the skill's folder"],
    ["out/none", "there is no such file"],
    ["references", "is a folder"],
    ["none.md", "there is no such file"],
    ["image.png", "is no text in UTF-8"],
    ["pipe", "is no regular file"],
  ])("%s: %s", async (file, why) => {
    await using world = await pdf();
    await world.write("secret", "s");
    await symlink("../..", world.path("skills/pdf/out"));
    await world.write("skills/pdf/image.png", new Uint8Array([0x89, 0x50, 0xff]));
    Bun.spawnSync(["mkfifo", world.path("skills/pdf/pipe")]);
    expect(read(world, { name: "pdf", file })).rejects.toThrow(why);
  });

  test("is cut where it is long, and so are instructions and lists", async () => {
    await using world = await pdf();
    await world.write("skills/pdf/long.txt", "x".repeat(1_000_000));
    const text = await read(world, { name: "pdf", file: "long.txt" });
    expect(text).toEndWith("x\n\n[the first 64512 of 1000000 bytes]");
    await world.write("skills/big/SKILL.md", skillText("big", "d", "ä".repeat(100_000)));
    await mkdir(world.path("skills/big/many"));
    const name = "n".repeat(200);
    await Promise.all(
      Array.from({ length: 300 }, (_, at) => world.write(`skills/big/many/${name}${at}`, "")),
    );
    await world.catalogue.reload();
    const whole = await read(world, { name: "big" });
    expect(whole).toMatch(/ä\n\n\[the first \d+ of 200000 bytes of SKILL\.md\]\n\nFiles of this skill/);
    expect(whole).toEndWith("\n- and more");
    expect(Buffer.byteLength(whole)).toBeLessThan(DEFAULT_LIMITS.tool_result_bytes);
  });
});

test("a folder with 20,000 files is listed in no time", async () => {
  await using world = await pdf();
  Bun.spawnSync(["sh", "-c", "seq 20000 | xargs touch"], { cwd: world.path("skills/pdf") });
  const began = performance.now();
  const text = await read(world, { name: "pdf" });
  expect(performance.now() - began).toBeLessThan(3_000);
  expect(text).toEndWith("\n- and more");
}, 120_000);
