import { expect, test } from "bun:test";
import { chmod, chown, mkdir, symlink, truncate } from "node:fs/promises";
import { openPlugins, sayer } from "./plugin.fixture.ts";
import type { PluginWorld } from "./plugin.fixture.ts";

/** Folders that others may have had their hands in: what could be somebody else's code is not run. */

/** Why the plug-in `bad` is not loaded; one beside it is. */
async function refusalOf(world: PluginWorld, directory = "plugins"): Promise<string | undefined> {
  await world.write("plugins/good.ts", sayer("good", `"fine"`));
  await world.folders.reload();
  expect(world.states()).toEqual(["bad failed", "good ready"]);
  expect(await world.call("good.say")).toEqual({ said: "fine" });
  expect(Object.hasOwn(globalThis, "ran")).toBe(false);
  return world.reason("bad")?.replaceAll(world.path(directory), "…");
}

const RUNS = `Object.assign(globalThis, { ran: true });\n${sayer("bad", `"bad"`)}`;

test("a link out of every directory is refused; one into another of them is followed", async () => {
  await using world = await openPlugins({ directories: ["plugins", "shared"] });
  await world.write("elsewhere/bad.ts", RUNS);
  await world.write("plugins/one.ts", sayer("one", `"1"`));
  await world.write("shared/_two.ts", sayer("two", `"2"`));
  await symlink(world.path("elsewhere/bad.ts"), world.path("plugins/bad.ts"));
  await symlink(world.path("shared/_two.ts"), world.path("plugins/two.ts"));
  await world.folders.reload();
  expect(world.states()).toEqual(["bad failed", "one ready", "two ready"]);
  expect(world.reason("bad")).toBe(
    `${world.path("plugins/bad.ts")} is a link to ${world.path("elsewhere/bad.ts")}, out of every directory of plug-ins: put the file itself there`,
  );
});

test("so is a folder that is a link, and a link among what a plug-in imports", async () => {
  await using world = await openPlugins();
  await world.write("elsewhere/index.ts", RUNS);
  await mkdir(world.path("plugins"));
  await symlink(world.path("elsewhere"), world.path("plugins/bad"));
  expect(await refusalOf(world)).toContain("is a link to");
  await world.remove("plugins/bad");
  await world.write("plugins/bad.ts", `import "./_part.ts";\n${sayer("bad", `"bad"`)}`);
  await symlink(world.path("elsewhere/index.ts"), world.path("plugins/_part.ts"));
  expect(await refusalOf(world)).toStartWith("…/_part.ts is a link to");
});

test("a link that leads nowhere is nothing, one to itself neither", async () => {
  await using world = await openPlugins();
  await world.write("plugins/good.ts", sayer("good", `"fine"`));
  await symlink("nowhere", world.path("plugins/a.ts"));
  await symlink("b.ts", world.path("plugins/b.ts"));
  await world.folders.reload();
  expect(world.states()).toEqual(["good ready"]);
});

test.skipIf(process.platform === "win32")(
  "what others may write is not run: a file, its folder, its helper",
  async () => {
    await using world = await openPlugins();
    await world.write("plugins/bad/index.ts", `import "./part.ts";\n${RUNS}`);
    await world.write("plugins/bad/part.ts", `export {};`);
    for (const file of ["bad/index.ts", "bad", "bad/part.ts"]) {
      const path = world.path("plugins", file);
      await chmod(path, 0o777);
      expect(await refusalOf(world)).toBe(
        `others can write …/${file}, and so run code here: chmod go-w '…/${file}'`,
      );
      await chmod(path, 0o755);
    }
    await world.folders.reload();
    expect(world.states()).toEqual(["bad ready", "good ready"]);
    Reflect.deleteProperty(globalThis, "ran");
  },
);

test.skipIf(process.platform === "win32")(
  "of a directory that others may write nothing is loaded, and it is said why",
  async () => {
    await using world = await openPlugins();
    await world.write("plugins/good.ts", sayer("good", `"fine"`));
    await world.folders.reload();
    await chmod(world.path("plugins"), 0o777);
    await world.folders.reload();
    expect(world.states()).toEqual([]);
    const path = world.path("plugins");
    const reason = `others can write ${path}, and so run code here: chmod go-w '${path}'`;
    expect(world.folders.directories()).toEqual([{ directory: "plugins", found: true, reason }]);
    await chmod(path, 0o755);
    await world.folders.reload();
    expect(world.states()).toEqual(["good ready"]);
  },
);

test.skipIf(process.getuid?.() !== 0)("what belongs to somebody else is not run", async () => {
  await using world = await openPlugins();
  await world.write("plugins/bad.ts", RUNS);
  await chown(world.path("plugins/bad.ts"), 12_345, 12_345);
  expect(await refusalOf(world)).toBe(
    "…/bad.ts belongs to another user (uid 12345), who could run code here: chown it to this one",
  );
});

test("a huge file is not read, nor one of very many", async () => {
  await using world = await openPlugins({ limits: { plugin_bytes: 4_096, plugin_files: 4 } });
  await world.write("plugins/bad.ts", RUNS);
  await truncate(world.path("plugins/bad.ts"), 8 * 2 ** 30);
  expect(await refusalOf(world)).toBe(
    `…/bad.ts has ${8 * 2 ** 30} bytes, more than the 4096 that a file of a plug-in may have`,
  );
  const parts = [1, 2, 3, 4].map((part) => `import "./_${part}.ts";`).join("\n");
  for (const part of [1, 2, 3, 4]) await world.write(`plugins/_${part}.ts`, "export {};");
  await world.write("plugins/bad.ts", `${parts}\n${RUNS}`);
  expect(await refusalOf(world)).toBe("it has more than 4 files");
});

test("files that import one another are read once", async () => {
  await using world = await openPlugins();
  await world.write("plugins/_a.ts", `import "./_b.ts"; export const a = "a";`);
  await world.write("plugins/_b.ts", `import "./_a.ts"; import "./good.ts";`);
  await world.write("plugins/good.ts", sayer("good", "a", `import { a } from "./_a.ts";`));
  await world.folders.reload();
  expect(world.states()).toEqual(["good ready"]);
});

test("what is no file is not opened", async () => {
  await using world = await openPlugins();
  await mkdir(world.path("plugins"));
  expect(Bun.spawnSync(["mkfifo", world.path("plugins/bad.ts")]).exitCode).toBe(0);
  expect(await refusalOf(world)).toBe("…/bad.ts is no file");
});

test("a directory with very many entries is not read to its end", async () => {
  await using world = await openPlugins({ limits: { plugins: 3 } });
  for (const name of ["a", "b", "c", "d"]) await world.write(`plugins/${name}.ts`, sayer(name, `"x"`));
  await world.folders.reload();
  expect(world.states()).toEqual([]);
  expect(world.folders.directories()[0]?.reason).toBe("it has more than 3 entries");
});

test("names that an object has anyway are names like others", async () => {
  await using world = await openPlugins();
  for (const name of ["constructor", "tostring"]) {
    await world.write(`plugins/${name}.ts`, sayer(name, `"said"`));
  }
  await world.write(
    "plugins/bad.ts",
    `export default JSON.parse('{"name":"bad","__proto__":{"x":1},"methods":{"__proto__":{}}}');`,
  );
  await world.folders.reload();
  expect(world.states()).toEqual(["bad failed", "constructor ready", "tostring ready"]);
  expect(await world.call("constructor.say")).toEqual({ said: "said" });
});
