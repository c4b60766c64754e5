import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { skillText } from "../adapter/skill.fixture.ts";
import { eventually } from "../gateway/stack.ts";
import type { Arena } from "./beside.ts";
import { openArena } from "./beside.ts";

/** Folders of skills that want something else than to be read, while somebody else talks with the gateway. */

const TIMEOUT_MS = 180_000;

let arena: Arena;
let skills: string;
let outside: string;
let secret: string;
beforeAll(async () => {
  arena = await openArena();
  skills = join(arena.gateway.data_dir, "skills");
  outside = await mkdtemp(join(tmpdir(), "agentbus-outside-"));
  secret = arena.secret("what-only-its-owner-may-read");
  await mkdir(join(outside, "evil"));
  await writeFile(join(outside, "evil/SKILL.md"), skillText("evil", secret, secret));
});
afterAll(async () => {
  await arena[Symbol.asyncDispose]();
  await rm(outside, { recursive: true, force: true });
});

async function put(name: string, text: string | Uint8Array): Promise<void> {
  await mkdir(join(skills, name), { recursive: true });
  await writeFile(join(skills, name, "SKILL.md"), text);
}

function shell(script: string, cwd: string): void {
  const { exitCode, stderr } = Bun.spawnSync(["sh", "-ec", script], { cwd });
  if (exitCode !== 0) throw new Error(stderr.toString());
}

/** Waits until the gateway lists these skills, each in its state, and no others. */
async function lists(states: Readonly<Record<string, string>>): Promise<void> {
  const wanted = JSON.stringify(Object.entries(states).toSorted(([a], [b]) => (a < b ? -1 : 1)));
  await eventually(
    async () => {
      const { skills: all } = await arena.call("skill.list");
      return JSON.stringify(all.map(({ name, state }: { name: string; state: string }) => [name, state]));
    },
    (shown) => shown === wanted,
    20_000,
  );
}

test(
  "links out, pipes, devices and huge files are told as broken; nothing of what they lead to is read",
  () =>
    arena.beside(async () => {
      await rm(skills, { recursive: true, force: true });
      await put("good", skillText("good"));
      await symlink(join(outside, "evil"), join(skills, "evil"));
      for (const [name, target] of [
        ["file", join(outside, "evil/SKILL.md")],
        ["device", "/dev/zero"],
        ["self", "SKILL.md"],
        ["proc", "/proc/self/environ"],
        ["token", "../../token"],
      ] as const) {
        await mkdir(join(skills, name));
        await symlink(target, join(skills, name, "SKILL.md"));
      }
      shell("mkdir pipe && mkfifo pipe/SKILL.md; mkdir huge && truncate -s 10G huge/SKILL.md", skills);
      const broken = ["evil", "file", "device", "self", "proc", "token", "pipe", "huge"];
      await lists({ good: "ready", ...Object.fromEntries(broken.map((name) => [name, "broken"])) });
      expect(JSON.stringify(await arena.call("skill.list"))).not.toContain(secret);
    }),
  TIMEOUT_MS,
);

test(
  "500 bombs in the front matter take no time",
  () =>
    arena.beside(async () => {
      await rm(skills, { recursive: true, force: true });
      const names = Array.from({ length: 500 }, (_, index) => `bomb-${String(index).padStart(3, "0")}`);
      const kinds = ["[", "{a: ", "- ", "? ", "&a ", "%\n"];
      for (const [index, name] of names.entries()) {
        const kind = kinds[index % kinds.length] ?? "";
        await put(name, `---\nname: ${name}\ndescription: d\na: ${kind.repeat(15_000 / kind.length)}\n---\n`);
      }
      await put("good", skillText("good"));
      await lists({ good: "ready", ...Object.fromEntries(names.map((name) => [name, "broken"])) });
    }),
  TIMEOUT_MS,
);

test(
  "100,000 files in a skill, 5,000 folders beside it",
  () =>
    arena.beside(async () => {
      await rm(skills, { recursive: true, force: true });
      await put("0-good", skillText("0-good"));
      shell("seq 100000 | xargs touch", join(skills, "0-good"));
      shell("seq -f x%g 5000 | xargs mkdir", skills);
      await lists({ "0-good": "ready" });
      await put("0-good", skillText("0-good", "Edited."));
      await eventually(
        async () => (await arena.call("skill.list")).skills[0]?.description,
        (description) => description === "Edited.",
        20_000,
      );
      await rm(skills, { recursive: true, force: true });
    }),
  TIMEOUT_MS,
);

test(
  "skills that change all the time",
  () =>
    arena.beside(async () => {
      await rm(skills, { recursive: true, force: true });
      for (let i = 0; i < 50; i++) await put(`s${i}`, skillText(`s${i}`));
      const end = Date.now() + 5_000;
      for (let i = 0; Date.now() < end; i++) {
        const name = `s${i % 50}`;
        if (i % 3 === 0) await rm(join(skills, name), { recursive: true });
        else await put(name, i % 3 === 1 ? "---\nname: [" : skillText(name, `Version ${i}.`));
      }
      await rm(skills, { recursive: true, force: true });
      await put("good", skillText("good"));
      await lists({ good: "ready" });
    }),
  TIMEOUT_MS,
);
