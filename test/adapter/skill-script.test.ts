import { describe, expect, test } from "bun:test";
import { chmod, open as openFile, readFile, symlink } from "node:fs/promises";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import { createSkillTools } from "../../src/skill/tools.ts";
import { eventually } from "../gateway/stack.ts";
import { processesWith } from "../support/processes.ts";
import type { SkillWorld } from "./skill.fixture.ts";
import { openSkills, skillText } from "./skill.fixture.ts";

/** The tool `skill_run`: scripts of a skill as processes. */

interface Script {
  readonly path?: string;
  readonly text: string;
  /** Default 0o755. */
  readonly mode?: number;
}

async function open(script: Script): Promise<SkillWorld> {
  const world = await openSkills();
  await world.write("skills/s/SKILL.md", skillText("s"));
  const path = `skills/s/${script.path ?? "scripts/go"}`;
  await world.write(path, script.text);
  await chmod(world.path(path), script.mode ?? 0o755);
  await world.catalogue.start();
  return world;
}

function run(
  world: SkillWorld,
  params: {
    script?: string;
    args?: unknown;
    signal?: AbortSignal;
    limits?: Partial<typeof DEFAULT_LIMITS>;
  } = {},
): Promise<string> {
  const { script = "scripts/go", args = [], signal = new AbortController().signal } = params;
  const { catalogue } = world;
  const limits = { ...DEFAULT_LIMITS, ...params.limits };
  const [tool] = createSkillTools({ catalogue, limits, names: new Set(["skill_run"]) }).tools();
  if (tool === undefined) throw new Error("there is no skill_run");
  return tool.run({ skill: "s", script, args }, { signal, session_id: "x", run_id: "r" });
}

describe("a script", () => {
  test("is given its arguments as they are, without a shell, and its output and exit code are told", async () => {
    await using world = await open({ text: '#!/bin/sh\nprintf "%s|" "$@"\necho; echo oops >&2\n' });
    const args = ["a b", "$(id)", "; rm -rf /", "*", "", "ä", "--help"];
    expect(await run(world, { args })).toBe(
      "exit code 0\n\nstdout:\na b|$(id)|; rm -rf /|*||ä|--help|\n\nstderr:\noops",
    );
  });

  test("runs in the skill's folder with nothing of the gateway's: no variable, no input, no file, no group", async () => {
    const probe = [
      "#!/bin/sh",
      "pwd",
      "ls -l /proc/$$/fd | grep -c opened-by-the-gateway",
      // $5 the group, $6 the session.
      'awk \'{ print ($1 == $5 && $1 == $6) ? "alone" : "not alone" }\' /proc/$$/stat',
      "cat",
      "tr '\\0' '\\n' < /proc/$$/environ | cut -d= -f1",
    ].join("\n");
    await using world = await open({ text: probe });
    await world.write("opened-by-the-gateway", "secret");
    await using file = await openFile(world.path("opened-by-the-gateway"));
    expect(file.fd).toBeGreaterThan(2);
    process.env["AGENTBUS_TEST_SECRET"] = "secret";
    process.env["OPENAI_API_KEY"] = "secret";
    try {
      const [, told = ""] = (await run(world)).split("stdout:\n");
      const [cwd, files, alone, ...env] = told.split("\n");
      expect([cwd, files, alone]).toEqual([world.path("skills/s"), "0", "alone"]);
      const given = ["PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR"];
      expect(env).toContain("PATH");
      expect(env.filter((name) => !given.includes(name))).toEqual([]);
    } finally {
      delete process.env["AGENTBUS_TEST_SECRET"];
      delete process.env["OPENAI_API_KEY"];
    }
  });

  test("that fails is told with its code, one that crashes with its signal", async () => {
    await using world = await open({ text: "#!/bin/sh\necho no >&2\nexit 3\n" });
    expect(run(world)).rejects.toThrow("exit code 3\n\nstderr:\nno");
    await using crash = await open({ text: "#!/bin/sh\nkill -SEGV $$\n" });
    expect(run(crash)).rejects.toThrow("ended by SIGSEGV");
  });

  test.each<[string, Script]>([
    ["with a first line that says how", { text: "#!/usr/bin/env python3\nprint('ran')\n", mode: 0o644 }],
    ["with a first line of Windows", { text: "#!/bin/sh\r\necho ran\n", mode: 0o644 }],
    ["of Python by its name", { path: "scripts/go.py", text: "print('ran')\n", mode: 0o644 }],
    ["of the shell by its name", { path: "go.sh", text: "echo ran\n", mode: 0o644 }],
    ["with an option in its first line", { text: "#!/bin/sh -e\necho ran\n", mode: 0o644 }],
  ])("that is not executable is run %s", async (_how, script) => {
    await using world = await open(script);
    expect(await run(world, { script: script.path ?? "scripts/go" })).toBe("exit code 0\n\nstdout:\nran");
  });

  test.each<[string, Script, string]>([
    [
      "nothing says how",
      { text: "echo ran\n", mode: 0o644 },
      '"scripts/go" cannot be run: make it executable, or give it a first line like #!/usr/bin/env python3',
    ],
    ["it is executable and no program", { text: "\0\0", mode: 0o755 }, '"scripts/go" cannot be run: ENOEXEC'],
    [
      "what its first line names is not there",
      { text: "#!/no/such/program\n" },
      '"scripts/go" cannot be run: what its first line names is not on this machine',
    ],
  ])("is refused where %s", async (_why, script, message) => {
    await using world = await open(script);
    expect(run(world)).rejects.toThrow(message);
  });

  test.each<[string, string]>([
    ["../../outside.sh", "is no path within the skill's folder"],
    ["/bin/sh", "is no path within the skill's folder"],
    ["link.sh", "is a link out of the skill's folder"],
    ["out/outside.sh", "is a link out of the skill's folder"],
    ["scripts", "is a folder"],
    ["none", "there is no such file"],
  ])("outside of the folder, or none: %s", async (script, why) => {
    await using world = await open({ text: "#!/bin/sh\n" });
    await world.write("outside.sh", "#!/bin/sh\necho outside\n");
    await chmod(world.path("outside.sh"), 0o755);
    await symlink("../../outside.sh", world.path("skills/s/link.sh"));
    await symlink("../..", world.path("skills/s/out"));
    expect(run(world, { script })).rejects.toThrow(why);
  });

  test("cannot be given U+0000, and is not begun after the end", async () => {
    await using world = await open({ text: "#!/bin/sh\ntouch ran\n" });
    expect(run(world, { args: ["a\0b"] })).rejects.toThrow("U+0000");
    expect(run(world, { signal: AbortSignal.abort() })).rejects.toThrow("stopped");
    expect(readFile(world.path("skills/s/ran"))).rejects.toThrow();
  });
});

describe("is stopped with all its children:", () => {
  /** A process that ignores what asks it to end, its child and its child's child. */
  const stubborn = (mark: string): string =>
    `#!/bin/sh\ntrap "" TERM INT HUP\nsh -c 'trap "" TERM; sleep ${mark} & sleep ${mark}' &\necho up > up\nsleep ${mark}\n`;

  test("at the signal, at once", async () => {
    const mark = `1${process.pid}.1`;
    await using world = await open({ text: stubborn(mark) });
    const abort = new AbortController();
    const running = run(world, { signal: abort.signal });
    running.catch(() => undefined);
    await eventually(
      () => processesWith(`sleep ${mark}`).length,
      (count) => count >= 3,
    );
    const began = performance.now();
    abort.abort();
    expect(running).rejects.toThrow("stopped");
    await running.catch(() => undefined);
    expect(processesWith(`sleep ${mark}`)).toEqual([]);
    // A few milliseconds where nothing else runs; 100 are promised.
    expect(performance.now() - began).toBeLessThan(500);
  });

  test("when it is done itself, whatever it left behind holds its output open", async () => {
    const mark = `1${process.pid}.2`;
    await using world = await open({ text: `#!/bin/sh\nsleep ${mark} &\nsleep ${mark} &\necho done\n` });
    expect(await run(world)).toBe("exit code 0\n\nstdout:\ndone");
    await eventually(
      () => processesWith(`sleep ${mark}`),
      (left) => left.length === 0,
    );
  });

  test("one that left the group does not keep the answer", async () => {
    const mark = `1${process.pid}.3`;
    await using world = await open({ text: `#!/bin/sh\nsetsid sleep ${mark} &\necho done\n` });
    expect(await run(world)).toBe("exit code 0\n\nstdout:\ndone");
    for (const pid of processesWith(`sleep ${mark}`)) process.kill(pid, "SIGKILL");
  });

  test("at too much output, of which the beginning is told", async () => {
    await using world = await open({ text: "#!/bin/sh\nyes\n" });
    const told = await run(world).catch((error: Error) => error.message);
    expect(told).toStartWith(
      "ended by SIGKILL, stopped: it wrote more than 1048576 bytes\n\nstdout:\ny\ny\ny\n",
    );
    expect(told).toMatch(/\[\d+ bytes more were not kept\]$/);
    expect(Buffer.byteLength(told)).toBeLessThanOrEqual(DEFAULT_LIMITS.tool_result_bytes);
  });
});

test("long output that ends is cut, not stopped", async () => {
  await using world = await open({
    text: "#!/bin/sh\nhead -c 200000 /dev/zero | tr '\\0' x\nhead -c 9 /dev/zero >&2\n",
  });
  const told = await run(world);
  expect(told).toStartWith(`exit code 0\n\nstdout:\n${"x".repeat(60_000)}`);
  expect(told).toEndWith("bytes more were not kept]");
});

test("only so many run at once; the others wait, and those that are stopped meanwhile never begin", async () => {
  await using world = await open({
    text: "#!/bin/sh\necho x >> began\nuntil [ -e go ]; do sleep 0.05; done\n",
  });
  const began = async (): Promise<number> =>
    (await readFile(world.path("skills/s/began"), "utf8").catch(() => "")).length / 2;
  const { catalogue } = world;
  const limits = { ...DEFAULT_LIMITS, scripts: 2 };
  const [tool] = createSkillTools({ catalogue, limits, names: new Set(["skill_run"]) }).tools();
  const aborts = Array.from({ length: 4 }, () => new AbortController());
  const running = aborts.map(({ signal }) =>
    tool
      ?.run({ skill: "s", script: "scripts/go" }, { signal, session_id: "x", run_id: "r" })
      .catch((error: Error) => error.message),
  );
  await eventually(began, (count) => count === 2);
  aborts[2]?.abort();
  await world.write("skills/s/go", "");
  expect(await Promise.all(running)).toEqual(["exit code 0", "exit code 0", "stopped", "exit code 0"]);
  expect(await began()).toBe(3);
});
