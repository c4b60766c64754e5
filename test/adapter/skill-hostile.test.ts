import { describe, expect, test } from "bun:test";
import { mkdir, symlink, writeFile } from "node:fs/promises";
import { readInside } from "../../src/skill/confined.ts";
import { eventually } from "../gateway/stack.ts";
import type { SkillWorld } from "./skill.fixture.ts";
import { openSkills, skillText } from "./skill.fixture.ts";

/** Folders that want something else than to be read: links out, what never ends, what is too much. */

const SECRET = "the secret outside";

async function world(): Promise<SkillWorld> {
  const made = await openSkills({ limits: { skill_bytes: 4_096 } });
  await made.write("skills/good/SKILL.md", skillText("good"));
  await made.write("outside/evil/SKILL.md", skillText("evil", SECRET));
  await made.write("outside/secret.txt", SECRET);
  return made;
}

async function fifo(path: string): Promise<void> {
  const made = Bun.spawnSync(["mkfifo", path]);
  if (made.exitCode !== 0) throw new Error(made.stderr.toString());
}

describe("a skill that is no skill is told, reads nothing, and the others are used:", () => {
  test.each<[string, string, (made: SkillWorld) => Promise<unknown>]>([
    [
      "a folder that is a link out",
      "it is a link out of the directories of skills: add where it leads to skills.directories",
      (made) => symlink("../outside/evil", made.path("skills/evil")),
    ],
    [
      "a SKILL.md that is a link out",
      '"SKILL.md" is a link out of the skill\'s folder',
      async (made) => {
        await mkdir(made.path("skills/evil"));
        await symlink("../../outside/evil/SKILL.md", made.path("skills/evil/SKILL.md"));
      },
    ],
    [
      "a SKILL.md that is a link to nothing",
      "it cannot be read (ENOENT)",
      async (made) => {
        await mkdir(made.path("skills/evil"));
        await symlink("nothing", made.path("skills/evil/SKILL.md"));
      },
    ],
    [
      "a SKILL.md that is a link to itself",
      "it cannot be read (ELOOP)",
      async (made) => {
        await mkdir(made.path("skills/evil"));
        await symlink("SKILL.md", made.path("skills/evil/SKILL.md"));
      },
    ],
    [
      "a SKILL.md that is a device",
      '"SKILL.md" is a link out of the skill\'s folder',
      async (made) => {
        await mkdir(made.path("skills/evil"));
        await symlink("/dev/zero", made.path("skills/evil/SKILL.md"));
      },
    ],
    [
      "a SKILL.md that is a FIFO",
      '"SKILL.md" is no regular file',
      async (made) => {
        await mkdir(made.path("skills/evil"));
        await fifo(made.path("skills/evil/SKILL.md"));
      },
    ],
    [
      "a SKILL.md that is a folder",
      '"SKILL.md" is a folder',
      (made) => mkdir(made.path("skills/evil/SKILL.md"), { recursive: true }),
    ],
    [
      "a huge SKILL.md",
      "SKILL.md has 104857600 bytes, at most 4096 are allowed: move parts into files beside it",
      (made) => made.write("skills/evil/SKILL.md", Buffer.alloc(100 * 1_024 * 1_024, skillText("evil"))),
    ],
    [
      "a SKILL.md of another encoding",
      '"SKILL.md" is no text in UTF-8',
      (made) => made.write("skills/evil/SKILL.md", Buffer.from(skillText("evil", "ä"), "latin1")),
    ],
    [
      "a SKILL.md of zeros",
      'SKILL.md must begin with a line "---", then name and description, then another "---"',
      (made) => made.write("skills/evil/SKILL.md", Buffer.alloc(1_024)),
    ],
  ])("%s", async (_what, reason, make) => {
    await using made = await world();
    await make(made);
    const began = performance.now();
    await made.catalogue.start();
    expect(made.catalogue.list()).toEqual([
      { name: "evil", state: "broken", directory: "skills", reason },
      { name: "good", state: "ready", directory: "skills", description: "What good is for." },
    ]);
    expect(JSON.stringify(made.log.lines)).not.toContain(SECRET);
    // Nothing is waited for and nothing is read to its end.
    expect(performance.now() - began).toBeLessThan(3_000);
  });

  test("a link to nothing, FIFOs and sockets beside the skills are none", async () => {
    await using made = await world();
    await symlink("gone", made.path("skills/nothing"));
    await fifo(made.path("skills/fifo"));
    using socket = Bun.listen({ unix: made.path("skills/socket"), socket: { data: () => undefined } });
    await made.catalogue.start();
    expect(made.states()).toEqual(["good ready"]);
    expect(socket.unix).toBeString();
  });

  test("a folder whose name a terminal would heed is told by another", async () => {
    await using made = await world();
    await made.write("skills/\u001b[2J\nx/SKILL.md", skillText("x"));
    await made.catalogue.start();
    expect(made.states()).toEqual(["good ready", "\uFFFD[2J\uFFFDx broken"].toSorted());
    expect(JSON.stringify(made.log.lines)).not.toContain("\\u001b");
  });

  test("one that was good and becomes a link out is used no more", async () => {
    await using made = await world();
    await made.catalogue.start();
    Bun.spawnSync(["rm", "-r", made.path("skills/good")]);
    await symlink("../outside/evil", made.path("skills/good"));
    await made.catalogue.reload();
    expect(made.states()).toEqual(["good broken"]);
    expect([...made.catalogue.usable]).toEqual([]);
  });
});

describe("100,000", () => {
  test("files in a skill's folder, and in a directory of skills, hold up neither the skills nor anything else", async () => {
    await using made = await openSkills({ directories: ["skills", "skills/good"], auto_reload: true });
    await made.write("skills/good/SKILL.md", skillText("good"));
    Bun.spawnSync(["sh", "-c", "seq 100000 | xargs touch"], { cwd: made.path("skills/good") });
    let blocked_ms = 0;
    let last = performance.now();
    const beat = setInterval(() => {
      const now = performance.now();
      blocked_ms = Math.max(blocked_ms, now - last);
      last = now;
    }, 5);
    await made.catalogue.start();
    expect(made.states()).toEqual(["good ready"]);
    await made.write("skills/good/more/SKILL.md", skillText("more"));
    await eventually(made.states, (now) => now.includes("more ready"), 10_000);
    clearInterval(beat);
    // Some 15 ms where nothing else runs.
    expect(blocked_ms).toBeLessThan(500);
  }, 60_000);

  test("folders in a directory of skills are not all looked into", async () => {
    await using made = await openSkills({ auto_reload: true });
    Bun.spawnSync(["sh", "-c", "mkdir skills && cd skills && seq 3000 | xargs mkdir"], { cwd: made.path() });
    await made.write("skills/0/SKILL.md", skillText("0"));
    await made.catalogue.start();
    expect(made.states()).toEqual(["0 ready"]);
    expect(made.catalogue.directories()[0]?.reason).toBe(
      "it has 3001 folders, only the first 2000 are looked into",
    );
    await made.write("skills/0/SKILL.md", skillText("0", "Edited."));
    await eventually(
      () => made.view("0")?.description,
      (now) => now === "Edited.",
      10_000,
    );
  }, 60_000);
});

describe("reading a file in a folder", () => {
  test.each([
    "",
    "/etc/passwd",
    "../outside/secret.txt",
    "a/../../outside/secret.txt",
    "..",
    "a\0b",
    "x".repeat(2_000),
  ])("%j is no path in it", async (path) => {
    await using made = await world();
    expect(readInside(made.path("skills"), path, 100)).rejects.toThrow(
      "is no path within the skill's folder",
    );
  });

  test("gives the beginning of what is in it, whatever links lead there, and nothing from outside", async () => {
    await using made = await world();
    const folder = made.path("skills/good");
    await made.write("skills/good/a/long.txt", `${"ä".repeat(100)}`);
    await symlink("a/long.txt", made.path("skills/good/link.txt"));
    await symlink("../../outside", made.path("skills/good/out"));
    await symlink("../../outside/secret.txt", made.path("skills/good/out.txt"));
    await writeFile(made.path("skills/good-secret.txt"), SECRET);
    expect(await readInside(folder, "link.txt", 1_000)).toEqual({
      text: "ä".repeat(100),
      bytes: 200,
      cut: false,
    });
    // A character that is cut through is left out.
    expect(await readInside(folder, "./a/long.txt", 11)).toEqual({
      text: "ä".repeat(5),
      bytes: 200,
      cut: true,
    });
    for (const path of ["out/secret.txt", "out.txt"]) {
      expect(readInside(folder, path, 100)).rejects.toThrow("is a link out of the skill's folder");
    }
    expect(readInside(folder, "../good-secret.txt", 100)).rejects.toThrow("no path within");
    expect(readInside(folder, "nothing", 100)).rejects.toThrow("there is no such file");
    expect(readInside(folder, "a", 100)).rejects.toThrow('"a" is a folder');
  });

  test("never gives what is outside while a folder is swapped for a link", async () => {
    await using made = await world();
    const folder = made.path("skills/good");
    await made.write("skills/good/ref/secret.txt", "inside");
    await symlink("../../outside", made.path("skills/good/link"));
    const swap = "while :; do mv ref real; mv link ref; mv ref link; mv real ref; done";
    const swapper = Bun.spawn(["sh", "-c", swap], { cwd: folder, stderr: "ignore" });
    const seen = new Set<string>();
    const end = performance.now() + 2_000;
    while (performance.now() < end) {
      const read = await readInside(folder, "ref/secret.txt", 100).catch((error: Error) => ({
        text: error.message,
      }));
      seen.add(read.text);
    }
    swapper.kill("SIGKILL");
    await swapper.exited;
    expect([...seen]).toContain("inside");
    expect([...seen]).not.toContain(SECRET);
  });
});
