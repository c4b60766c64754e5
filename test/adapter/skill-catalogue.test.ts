import { describe, expect, test } from "bun:test";
import { mkdir, rename, rm, symlink, utimes } from "node:fs/promises";
import { openSkills, skillText } from "./skill.fixture.ts";

/** What is found in directories of skills, and which of them is used. */

describe("a directory of skills", () => {
  test("has one in each folder with a SKILL.md; other folders and files are none", async () => {
    await using world = await openSkills();
    await world.write("skills/pdf/SKILL.md", skillText("pdf"));
    await world.write("skills/csv/SKILL.md", skillText("csv"));
    await world.write("skills/csv/scripts/run.py", "print(1)");
    await world.write("skills/notes/README.md", "no skill");
    await world.write("skills/deep/down/pdf2/SKILL.md", skillText("pdf2"));
    await world.write("skills/.git/SKILL.md", skillText("git"));
    await world.write("skills/node_modules/SKILL.md", skillText("x"));
    await world.write("skills/SKILL.md", skillText("skills"));
    await world.catalogue.start();
    expect(world.catalogue.list()).toEqual([
      { name: "csv", state: "ready", directory: "skills", description: "What csv is for." },
      { name: "pdf", state: "ready", directory: "skills", description: "What pdf is for." },
    ]);
    expect([...world.catalogue.usable.values()]).toMatchObject([
      { name: "csv", body: "How csv goes.", folder: world.path("skills/csv") },
      { name: "pdf", body: "How pdf goes.", folder: world.path("skills/pdf") },
    ]);
    expect(world.catalogue.directories()).toEqual([{ directory: "skills", found: true }]);
  });

  test("need not be there", async () => {
    await using world = await openSkills();
    await world.catalogue.start();
    expect(world.catalogue.list()).toEqual([]);
    expect(world.catalogue.directories()).toEqual([{ directory: "skills", found: false }]);
    expect(world.log.lines).toEqual([]);
  });

  test("that cannot be read is told, and what was read of it before stays", async () => {
    await using world = await openSkills();
    await world.write("skills/pdf/SKILL.md", skillText("pdf"));
    await world.catalogue.start();
    await rename(world.path("skills"), world.path("away"));
    await symlink("skills", world.path("skills"));
    expect(await world.catalogue.reload()).toEqual(["pdf"]);
    expect(world.catalogue.directories()).toEqual([
      { directory: "skills", found: false, reason: "it cannot be read (ELOOP)" },
    ]);
    expect(world.view("pdf")).toMatchObject({ state: "stale", reason: "it cannot be read (ELOOP)" });
    expect(world.catalogue.usable.get("pdf")?.body).toBe("How pdf goes.");
  });

  test("a broken skill is told with its reason, the others are used", async () => {
    await using world = await openSkills();
    await world.write("skills/ok/SKILL.md", skillText("ok"));
    await world.write("skills/other/SKILL.md", skillText("name"));
    await world.write("skills/Bad_Name/SKILL.md", skillText("Bad_Name"));
    await world.catalogue.start();
    expect(world.catalogue.list()).toEqual([
      {
        name: "Bad_Name",
        state: "broken",
        directory: "skills",
        reason: 'name: "Bad_Name" must be lower-case letters, digits and single hyphens between them',
      },
      { name: "ok", state: "ready", directory: "skills", description: "What ok is for." },
      {
        name: "other",
        state: "broken",
        directory: "skills",
        reason: 'name: "name" is not the name of its folder: rename one of the two',
      },
    ]);
    expect([...world.catalogue.usable.keys()]).toEqual(["ok"]);
    const warned = world.log.lines.filter(({ level }) => level === "warn");
    expect(warned.map(({ fields }) => fields["skill"])).toEqual(["Bad_Name", "other"]);
  });
});

describe("of several with one name", () => {
  const directories = [".agents/skills", ".claude/skills", "more", "data/skills"];

  test("the one of the first directory is used, the others are told", async () => {
    await using world = await openSkills({ directories });
    for (const directory of directories.toReversed()) {
      await world.write(`${directory}/pdf/SKILL.md`, skillText("pdf", `Of ${directory}.`));
    }
    await world.write("data/skills/only/SKILL.md", skillText("only"));
    await world.catalogue.start();
    expect(
      world.catalogue
        .list()
        .map(({ name, state, directory, reason = "" }) => [name, state, directory, reason]),
    ).toEqual([
      ["only", "ready", "data/skills", ""],
      ["pdf", "ready", ".agents/skills", ""],
      ["pdf", "shadowed", ".claude/skills", "the one in .agents/skills is used"],
      ["pdf", "shadowed", "more", "the one in .agents/skills is used"],
      ["pdf", "shadowed", "data/skills", "the one in .agents/skills is used"],
    ]);
    expect(world.catalogue.usable.get("pdf")?.description).toBe("Of .agents/skills.");
    await rm(world.path(".agents"), { recursive: true });
    expect(await world.catalogue.reload()).toEqual(["pdf"]);
    expect(world.catalogue.usable.get("pdf")?.description).toBe("Of .claude/skills.");
  });

  test("one that never could be read stands in nobody's way", async () => {
    await using world = await openSkills({ directories });
    await world.write(".agents/skills/pdf/SKILL.md", "broken");
    await world.write("data/skills/pdf/SKILL.md", skillText("pdf", "Of data."));
    await world.catalogue.start();
    expect(world.states()).toEqual(["pdf broken", "pdf ready"]);
    expect(world.catalogue.usable.get("pdf")?.description).toBe("Of data.");
  });

  test("a link from one directory to the other's is the same skill", async () => {
    await using world = await openSkills({ directories });
    await world.write(".agents/skills/pdf/SKILL.md", skillText("pdf"));
    await mkdir(world.path(".claude/skills"), { recursive: true });
    await symlink("../../.agents/skills/pdf", world.path(".claude/skills/pdf"));
    await world.catalogue.start();
    expect(world.states()).toEqual(["pdf ready"]);
  });
});

describe("looking again", () => {
  test("tells what changed and keeps the last good version of what broke", async () => {
    await using world = await openSkills();
    for (const name of ["stays", "edited", "breaks", "goes"]) {
      await world.write(`skills/${name}/SKILL.md`, skillText(name));
    }
    await world.catalogue.start();
    await world.write("skills/edited/SKILL.md", skillText("edited", "Another."));
    await world.write("skills/breaks/SKILL.md", "---\nname: [");
    await rm(world.path("skills/goes"), { recursive: true });
    await world.write("skills/comes/SKILL.md", skillText("comes"));
    expect(await world.catalogue.reload()).toEqual(["breaks", "comes", "edited", "goes"]);
    expect(world.states()).toEqual(["breaks stale", "comes ready", "edited ready", "stays ready"]);
    expect(world.view("breaks")).toMatchObject({
      reason: 'the front matter has no end: add a line "---" after it',
      description: "What breaks is for.",
    });
    expect(world.catalogue.usable.get("breaks")?.body).toBe("How breaks goes.");
    expect(await world.catalogue.reload()).toEqual([]);
    await world.write("skills/breaks/SKILL.md", skillText("breaks", "Mended."));
    expect(await world.catalogue.reload()).toEqual(["breaks"]);
    expect(world.view("breaks")).toEqual({
      name: "breaks",
      state: "ready",
      directory: "skills",
      description: "Mended.",
    });
    // A start is a change, too.
    expect(world.told).toEqual([
      ["breaks", "edited", "goes", "stays"],
      ["breaks", "comes", "edited", "goes"],
      ["breaks"],
    ]);
  });

  test("reads an edit that its size and time do not tell", async () => {
    await using world = await openSkills();
    const file = "skills/pdf/SKILL.md";
    await world.write(file, skillText("pdf", "one"));
    await world.catalogue.start();
    await world.write(file, skillText("pdf", "two"));
    const times = new Date();
    await utimes(world.path(file), times, times);
    expect(await world.catalogue.reload()).toEqual(["pdf"]);
    await world.write(file, skillText("pdf", "six"));
    await utimes(world.path(file), times, times);
    expect(await world.catalogue.reload()).toEqual(["pdf"]);
  });

  test("asked for many times at once looks twice at the most, and the last answer knows the last change", async () => {
    await using world = await openSkills();
    await world.catalogue.start();
    const first = world.catalogue.reload();
    await world.write("skills/pdf/SKILL.md", skillText("pdf"));
    const others = Array.from({ length: 50 }, () => world.catalogue.reload());
    expect(new Set(others).size).toBeLessThanOrEqual(2);
    await Promise.all([first, ...others]);
    expect(world.states()).toEqual(["pdf ready"]);
  });

  test("a renamed folder is another skill, whose name has to follow", async () => {
    await using world = await openSkills();
    await world.write("skills/old/SKILL.md", skillText("old"));
    await world.catalogue.start();
    await rename(world.path("skills/old"), world.path("skills/new"));
    expect(await world.catalogue.reload()).toEqual(["new", "old"]);
    expect(world.states()).toEqual(["new broken"]);
    await world.write("skills/new/SKILL.md", skillText("new"));
    expect(await world.catalogue.reload()).toEqual(["new"]);
    expect(world.states()).toEqual(["new ready"]);
  });
});

describe("bounds", () => {
  test("on the number of skills are told", async () => {
    await using world = await openSkills({ directories: ["a", "b"], limits: { skills: 3 } });
    for (const path of ["a/s1", "a/s2", "b/s3", "b/s4", "b/s5"]) {
      await world.write(`${path}/SKILL.md`, skillText(path.slice(2)));
    }
    await world.catalogue.start();
    expect(world.states()).toEqual(["s1 ready", "s2 ready", "s3 ready"]);
    expect(world.catalogue.directories()).toEqual([
      { directory: "a", found: true },
      { directory: "b", found: true, reason: "there are too many skills: only the first 1 here are used" },
    ]);
  });

  test("on the folders that are looked into are told", async () => {
    await using world = await openSkills({ limits: { skill_entries: 2 } });
    for (const name of ["s1", "s2", "s3"]) await world.write(`skills/${name}/SKILL.md`, skillText(name));
    await world.catalogue.start();
    expect(world.states()).toEqual(["s1 ready", "s2 ready"]);
    expect(world.catalogue.directories()[0]?.reason).toBe(
      "it has 3 folders, only the first 2 are looked into",
    );
  });

  test("on one SKILL.md and on all together are told", async () => {
    await using world = await openSkills({ limits: { skill_bytes: 1_000, skills_bytes: 1_500 } });
    for (const name of ["s1", "s2"]) {
      await world.write(`skills/${name}/SKILL.md`, skillText(name, "d", "x".repeat(900)));
    }
    await world.write("skills/big/SKILL.md", skillText("big", "d", "x".repeat(1_000)));
    await world.catalogue.start();
    expect(world.catalogue.list().map(({ name, reason = "" }) => [name, reason])).toEqual([
      ["big", "SKILL.md has 1035 bytes, at most 1000 are allowed: move parts into files beside it"],
      ["s1", ""],
      ["s2", "all skills together have more than 1500 bytes of instructions: shorten some"],
    ]);
  });
});
