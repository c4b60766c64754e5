import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { link, mkdir, mkdtemp, realpath, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Limits } from "../../src/core/limits.ts";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import { listFilesTool } from "../../src/tool/list-files.ts";
import { readFileTool } from "../../src/tool/read-file.ts";
import { createWorkspace } from "../../src/tool/workspace.ts";

let home: string;
let root: string;
beforeEach(async () => {
  home = await realpath(await mkdtemp(join(tmpdir(), "agentbus-workspace-")));
  root = join(home, "work");
  await mkdir(join(root, "docs", "deep"), { recursive: true });
  await mkdir(join(home, "data"));
  await writeFile(join(home, "secret"), "outside");
  await writeFile(join(home, "data", "token"), "agb_secret");
  await writeFile(join(root, "a.txt"), "one\ntwo\r\nthree");
  await writeFile(join(root, "docs", "b.md"), "# b");
  await writeFile(join(root, "docs", "deep", "c.md"), "# c");
});
afterEach(() => rm(home, { recursive: true }));

type Bounds = Partial<Limits>;
const context = () => ({ signal: new AbortController().signal, session_id: "s", run_id: "r" });
const workspace = () => createWorkspace(root, [join(home, "data"), join(root, "closed")]);
const read = (args: Record<string, unknown>, bounds: Bounds = {}) =>
  readFileTool(workspace(), { ...DEFAULT_LIMITS, ...bounds }).run(args, context());
const list = (args: Record<string, unknown> = {}, bounds: Bounds = {}) =>
  listFilesTool(workspace(), { ...DEFAULT_LIMITS, ...bounds }).run(args, context());

describe("read_file", () => {
  test("reads a file, whole or some lines of it", async () => {
    expect(await read({ path: "a.txt" })).toBe("Lines 1 to 3.\n\none\ntwo\nthree");
    expect(await read({ path: "./docs/../a.txt", offset: 2, limit: 1 })).toBe(
      "Lines 2 to 2. There is more: read on with offset 3.\n\ntwo",
    );
    expect(await read({ path: join(root, "a.txt"), offset: 3 })).toBe("Lines 3 to 3.\n\nthree");
    expect(await read({ path: "a.txt", offset: 4 })).toBe("It has no line 4.");
    await writeFile(join(root, "empty"), "");
    expect(await read({ path: "empty" })).toBe("It is empty.");
  });

  test("a long file comes in pages that join to the whole", async () => {
    const lines = Array.from({ length: 30_000 }, (_, n) => `line ${n} ü`);
    await writeFile(join(root, "long"), lines.join("\n"));
    const seen: string[] = [];
    for (let offset: number | undefined = 1; offset !== undefined;) {
      const text = await read({ path: "long", offset, limit: 2_000 }, { tool_result_bytes: 20_000 });
      expect(Buffer.byteLength(text)).toBeLessThanOrEqual(20_000);
      const [head = "", ...rest] = text.split("\n\n");
      seen.push(...rest.join("\n\n").split("\n"));
      const next = /offset (\d+)/.exec(head)?.[1];
      offset = next === undefined ? undefined : Number(next);
    }
    expect(seen).toEqual(lines);
  });

  test("a line without end is cut, and what comes after it is reached", async () => {
    await writeFile(join(root, "wide"), `${"x".repeat(3_000_000)}\nafter`);
    const text = await read({ path: "wide" });
    expect(text).toStartWith("Lines 1 to 1. Line 1 is longer than can be shown and is cut. There is more");
    expect(text.length).toBeLessThanOrEqual(DEFAULT_LIMITS.tool_result_bytes);
    expect(await read({ path: "wide", offset: 2 })).toBe("Lines 2 to 2.\n\nafter");
  });

  test("what is no text, or too large, is told", async () => {
    await writeFile(join(root, "bin"), new Uint8Array([1, 0, 2]));
    expect(await read({ path: "bin" })).toBe("It is a binary file of 3 bytes and is not shown.");
    expect(await read({ path: "a.txt" }, { file_bytes: 5 })).toBe(
      "It has 14 bytes, which is too large to be read.",
    );
    await writeFile(join(root, "latin"), Buffer.from("café", "latin1"));
    expect(await read({ path: "latin" })).toEndWith("caf\uFFFD");
  });

  test("what is no file of the workspace is refused", async () => {
    await mkdir(join(root, "closed"));
    await writeFile(join(root, "closed", "x"), "x");
    await mkdir(join(home, "work2"));
    await writeFile(join(home, "work2", "x"), "x");
    const refused: [string, RegExp][] = [
      ["../secret", /outside of the workspace/],
      ["docs/../../secret", /outside of the workspace/],
      [join(home, "secret"), /outside of the workspace/],
      ["../work2/x", /outside of the workspace/],
      ["/etc/passwd", /outside of the workspace/],
      ["a.txt\0.md", /is no path/],
      ["x".repeat(5_000), /is no path/],
      ["x".repeat(300), /is no path/],
      ["a.txt/b", /does not exist/],
      ["none", /does not exist/],
      ["docs", /is a directory/],
      [".", /is a directory/],
      ["closed/x", /is not shown/],
    ];
    for (const [path, why] of refused) await expect(read({ path })).rejects.toThrow(why);
  });

  test("a link is followed inside, and nowhere else", async () => {
    await symlink("docs/b.md", join(root, "inner"));
    expect(await read({ path: "inner" })).toEndWith("# b");
    await symlink(join(home, "secret"), join(root, "out"));
    await symlink("..", join(root, "up"));
    await symlink(join(home, "data"), join(root, "data"));
    await symlink("loop", join(root, "loop"));
    await symlink("/proc/self/environ", join(root, "environ"));
    await symlink("/proc/self/root", join(root, "rooted"));
    for (const path of ["out", "up/secret", "data/token", "loop", "environ", "rooted/etc/passwd"]) {
      await expect(read({ path })).rejects.toThrow(/outside of the workspace|link that leads nowhere/);
    }
  });

  test("a workspace that holds what is closed does not show it, by any name", async () => {
    const wide = readFileTool(createWorkspace(home, [join(home, "data")]), DEFAULT_LIMITS);
    await symlink(join(home, "data"), join(root, "in"));
    for (const path of ["data/token", "work/in/token"]) {
      await expect(wide.run({ path }, context())).rejects.toThrow(/is not shown/);
    }
    expect(await wide.run({ path: "secret" }, context())).toEndWith("outside");
  });

  test("a FIFO or a device is refused before it is opened", async () => {
    expect(Bun.spawnSync(["mkfifo", join(root, "fifo")]).exitCode).toBe(0);
    await expect(read({ path: "fifo" })).rejects.toThrow(/neither a file nor a directory/);
    const devices = readFileTool(createWorkspace("/dev", []), DEFAULT_LIMITS);
    await expect(devices.run({ path: "zero" }, context())).rejects.toThrow(/neither a file nor a directory/);
  });

  test("a folder that becomes a link and back, all the time, leads nowhere outside", async () => {
    await mkdir(join(home, "other"));
    await writeFile(join(home, "other", "b.md"), "outside");
    await symlink(join(home, "other"), join(root, "link"));
    const flip = `const { renameSync: mv } = require("node:fs");
      for (;;) { mv("docs", "kept"); mv("link", "docs"); mv("docs", "link"); mv("kept", "docs"); }`;
    const child = Bun.spawn([process.execPath, "-e", flip], {
      cwd: root,
      stdio: ["ignore", "ignore", "ignore"],
    });
    try {
      const seen = new Set<string>();
      for (let i = 0; i < 5_000; i++) {
        seen.add(await read({ path: "docs/b.md" }).catch((error: Error) => error.message));
      }
      expect([...seen].filter((text) => text.endsWith("\noutside"))).toEqual([]);
      expect(seen.size).toBeGreaterThan(1);
    } finally {
      child.kill();
      await child.exited;
    }
  });

  test("what is another name of a file inside is that file", async () => {
    await link(join(root, "a.txt"), join(root, "same"));
    expect(await read({ path: "same" })).toEndWith("three");
  });
});

describe("list_files", () => {
  test("lists a directory", async () => {
    expect(await list()).toBe("a.txt\ndocs/");
    expect(await list({ path: "docs" })).toBe("b.md\ndeep/");
    await mkdir(join(root, "none"));
    expect(await list({ path: "none" })).toBe("Nothing is there.");
  });

  test("finds what matches, below", async () => {
    expect(await list({ glob: "**/*.md" })).toBe("docs/b.md\ndocs/deep/c.md");
    expect(await list({ path: "docs", glob: "*.md" })).toBe("b.md");
    expect(await list({ glob: "../*" })).toBe("Nothing is there.");
  });

  test("enters no link, and nothing outside", async () => {
    await symlink(home, join(root, "out"));
    await symlink(".", join(root, "self"));
    expect(await list({ glob: "**/*secret*" })).toBe("Nothing is there.");
    expect(await list({ glob: "**/*" })).toBe("a.txt\ndocs/b.md\ndocs/deep/c.md\nout\nself");
    expect(await list({ path: "self" })).toContain("a.txt");
    for (const path of ["out", "..", "/", "../work2"])
      await expect(list({ path })).rejects.toThrow(/outside/);
    await expect(list({ path: "a.txt" })).rejects.toThrow(/is a file/);
  });

  test("says when there is more than it lists or looks at", async () => {
    for (let i = 0; i < 30; i++) await writeFile(join(root, "docs", `f${i}`), "");
    expect((await list({ path: "docs" }, { listed_entries: 10 })).split("\n").slice(10)).toEqual([
      "",
      "There are more; name a path or a narrower glob.",
    ]);
    expect(await list({ path: "docs" }, { listed_entries: 32 })).not.toContain("There are more");
    expect(await list({ glob: "**/nothing" }, { visited_entries: 10 })).toBe(
      "Nothing is there.\n\nThere are more; name a path or a narrower glob.",
    );
  });

  test("a name with a line break is one line", async () => {
    await writeFile(join(root, "docs", "x\ny"), "");
    expect(await list({ path: "docs" })).toBe('"x\\ny"\nb.md\ndeep/');
  });

  test("a directory that may not be read, or is gone, is passed over below", async () => {
    await rm(join(root, "docs"), { recursive: true });
    await expect(list({ path: "docs" })).rejects.toThrow(/does not exist/);
    expect(await list({ glob: "**/*" })).toBe("a.txt");
  });
});
