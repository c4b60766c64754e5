import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { appendFile, mkdir, rename, rm, symlink, truncate, writeFile } from "node:fs/promises";
import { eventually } from "../gateway/stack.ts";
import type { SkillWorld } from "./skill.fixture.ts";
import { openSkills, skillText } from "./skill.fixture.ts";

/** Changes of skills while a gateway runs: nobody asks for them to be looked at. A second is promised; machines are busy. */
const SOON_MS = 10_000;
setDefaultTimeout(60_000);

async function becomes(world: SkillWorld, ...states: string[]): Promise<void> {
  await eventually(
    () => world.states(),
    (now) => now.join() === states.join(),
    SOON_MS,
  );
}

async function follow(names: readonly string[] = ["pdf"]): Promise<SkillWorld> {
  const world = await openSkills({ directories: ["project", "more/skills", "data"], auto_reload: true });
  for (const name of names) await world.write(`data/${name}/SKILL.md`, skillText(name));
  await world.catalogue.start();
  world.told.length = 0;
  return world;
}

describe("is noticed:", () => {
  test("a skill that is added, bit by bit or at once", async () => {
    await using world = await follow();
    await mkdir(world.path("data/slow"));
    await Bun.sleep(400);
    await world.write("data/slow/SKILL.md", skillText("slow"));
    await becomes(world, "pdf ready", "slow ready");
    await world.write("elsewhere/fast/SKILL.md", skillText("fast"));
    await rename(world.path("elsewhere/fast"), world.path("data/fast"));
    await becomes(world, "fast ready", "pdf ready", "slow ready");
    expect(world.told).toEqual([["slow"], ["fast"]]);
  });

  test.each<[string, (world: SkillWorld, text: string) => Promise<void>]>([
    ["in place", (world, text) => world.write("data/pdf/SKILL.md", text)],
    ["by a file that takes its place", (world, text) => world.put("data/pdf/SKILL.md", text)],
    [
      "by a file that was taken away before",
      async (world, text) => {
        await rename(world.path("data/pdf/SKILL.md"), world.path("data/pdf/SKILL.md~"));
        await world.write("data/pdf/SKILL.md", text);
      },
    ],
    [
      "by a folder that takes its place",
      async (world, text) => {
        await world.write("elsewhere/pdf/SKILL.md", text);
        await rename(world.path("data/pdf"), world.path("elsewhere/old"));
        await rename(world.path("elsewhere/pdf"), world.path("data/pdf"));
      },
    ],
  ])("a skill that is edited %s, again and again", async (_how, edit) => {
    await using world = await follow();
    for (const description of ["one", "two", "three"]) {
      await edit(world, skillText("pdf", description));
      await eventually(
        () => world.view("pdf")?.description,
        (now) => now === description,
        SOON_MS,
      );
      await rm(world.path("elsewhere"), { recursive: true, force: true });
    }
    expect(world.states()).toEqual(["pdf ready"]);
  });

  test("a skill that is renamed", async () => {
    await using world = await follow();
    await rename(world.path("data/pdf"), world.path("data/csv"));
    await becomes(world, "csv broken");
    await world.write("data/csv/SKILL.md", skillText("csv"));
    await becomes(world, "csv ready");
  });

  test("a skill that breaks, whose last good version stays, and is mended", async () => {
    await using world = await follow();
    await truncate(world.path("data/pdf/SKILL.md"), 10);
    await becomes(world, "pdf stale");
    expect(world.catalogue.usable.get("pdf")?.body).toBe("How pdf goes.");
    await world.write("data/pdf/SKILL.md", skillText("pdf"));
    await becomes(world, "pdf ready");
    expect(world.told).toEqual([["pdf"], ["pdf"]]);
  });

  test("a skill that is removed, or loses its SKILL.md", async () => {
    await using world = await follow(["csv", "pdf"]);
    await rm(world.path("data/pdf"), { recursive: true });
    await becomes(world, "csv ready");
    await rm(world.path("data/csv/SKILL.md"));
    await becomes(world);
  });

  test("a directory that appears later, with all that leads to it", async () => {
    await using world = await follow();
    await world.write("more/skills/csv/SKILL.md", skillText("csv"));
    await becomes(world, "csv ready", "pdf ready");
    await world.write("project/pdf/SKILL.md", skillText("pdf", "Of the project."));
    await becomes(world, "csv ready", "pdf ready", "pdf shadowed");
    expect(world.view("pdf", "ready")?.description).toBe("Of the project.");
  });

  test("a directory that goes, comes back and is edited", async () => {
    await using world = await follow();
    await rename(world.path("data"), world.path("away"));
    await becomes(world);
    await rename(world.path("away"), world.path("data"));
    await becomes(world, "pdf ready");
    await world.write("data/pdf/SKILL.md", skillText("pdf", "After."));
    await eventually(
      () => world.view("pdf")?.description,
      (now) => now === "After.",
      SOON_MS,
    );
  });

  test("a directory that another takes the place of", async () => {
    await using world = await follow();
    await world.write("next/csv/SKILL.md", skillText("csv"));
    await rename(world.path("data"), world.path("away"));
    await rename(world.path("next"), world.path("data"));
    await becomes(world, "csv ready");
    await world.write("data/xls/SKILL.md", skillText("xls"));
    await becomes(world, "csv ready", "xls ready");
  });

  test("what happens behind a link from one directory into another, and behind a directory that is a link", async () => {
    await using world = await follow();
    await mkdir(world.path("more"));
    await world.write("store/csv/SKILL.md", skillText("csv"));
    await symlink("../store", world.path("more/skills"));
    await mkdir(world.path("project"));
    await symlink("../data/pdf", world.path("project/pdf"));
    await becomes(world, "csv ready", "pdf ready");
    await world.write("store/csv/SKILL.md", skillText("csv", "Edited."));
    await world.write("data/pdf/SKILL.md", skillText("pdf", "Edited."));
    await eventually(
      () => world.catalogue.list().map(({ description }) => description),
      (now) => now.join() === "Edited.,Edited.",
      SOON_MS,
    );
  });

  test("many at once, told once or twice", async () => {
    await using world = await follow([]);
    const names = Array.from({ length: 100 }, (_, index) => `s${String(index).padStart(3, "0")}`);
    await Promise.all(names.map((name) => world.write(`data/${name}/SKILL.md`, skillText(name))));
    await becomes(world, ...names.map((name) => `${name} ready`));
    expect(world.told.flat().toSorted()).toEqual(names);
    expect(world.told.length).toBeLessThan(5);
  });
});

describe("makes nothing happen:", () => {
  test("a save without a change, files beside SKILL.md, a folder without one", async () => {
    await using world = await follow();
    await world.write("data/pdf/SKILL.md", skillText("pdf"));
    await world.write("data/pdf/references/guide.md", "x");
    await world.write("data/notes/README.md", "x");
    await Bun.sleep(1_000);
    expect([world.told, world.states()]).toEqual([[], ["pdf ready"]]);
  });

  test("anything, where it is not wished; it is read when it is asked for", async () => {
    await using world = await openSkills({ auto_reload: false });
    await world.catalogue.start();
    await world.write("skills/pdf/SKILL.md", skillText("pdf"));
    await Bun.sleep(1_000);
    expect(world.states()).toEqual([]);
    expect(await world.catalogue.reload()).toEqual(["pdf"]);
  });

  test("anything after the end", async () => {
    await using world = await follow();
    world.catalogue.close();
    await world.write("data/csv/SKILL.md", skillText("csv"));
    await Bun.sleep(1_000);
    expect([world.told, world.states()]).toEqual([[], ["pdf ready"]]);
  });
});

test("a file that is written all the time holds nothing up", async () => {
  await using world = await follow();
  let writing = true;
  const writer = (async () => {
    while (writing) {
      await appendFile(world.path("data/pdf/SKILL.md"), "more\n");
      await writeFile(world.path("data/log.txt"), "x");
      await Bun.sleep(1);
    }
  })();
  await world.write("data/csv/SKILL.md", skillText("csv"));
  await becomes(world, "csv ready", "pdf ready");
  writing = false;
  await writer;
});
