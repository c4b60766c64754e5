import { afterAll, beforeAll, beforeEach, expect, test } from "bun:test";
import { chmod, mkdir, mkdtemp, rename, rm, symlink, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sayer } from "../adapter/plugin.fixture.ts";
import { eventually } from "../gateway/stack.ts";
import type { Arena } from "./beside.ts";
import { openArena } from "./beside.ts";

/** Folders of plug-ins that hold what none is, while somebody else talks with the gateway. */

const TIMEOUT_MS = 180_000;

let arena: Arena;
let plugins: string;
let outside: string;
beforeAll(async () => {
  arena = await openArena({ errors: ["a plug-in cannot be loaded", "no plug-in of a directory is loaded"] });
  plugins = join(arena.gateway.data_dir, "plugins");
  outside = await mkdtemp(join(tmpdir(), "agentbus-outside-"));
  // One that is run says so.
  await writeFile(join(outside, "evil.ts"), `await Bun.write(${JSON.stringify(join(outside, "ran"))}, "");`);
});
afterAll(async () => {
  await arena[Symbol.asyncDispose]();
  await rm(outside, { recursive: true, force: true });
});
beforeEach(clean);

/** Nothing but one that is fine: also before what is tried is tried again. */
async function clean(): Promise<void> {
  await rm(plugins, { recursive: true, force: true });
  await mkdir(plugins, { mode: 0o700 });
  await put("good", sayer("good", `"fine"`));
}

async function put(name: string, text: string): Promise<void> {
  await writeFile(join(plugins, `${name}.ts`), text, { mode: 0o600 });
}

function shell(script: string, cwd: string): void {
  const { exitCode, stderr } = Bun.spawnSync(["sh", "-ec", script], { cwd });
  if (exitCode !== 0) throw new Error(stderr.toString());
}

interface View {
  readonly name: string;
  readonly state: string;
  readonly reason?: string;
}

/** Waits until these are the plug-ins, each in its state. */
async function lists(states: Readonly<Record<string, string>>): Promise<readonly View[]> {
  const wanted = JSON.stringify(Object.entries(states).toSorted(([a], [b]) => (a < b ? -1 : 1)));
  return eventually(
    async () => (await arena.call("plugin.list")).plugins as View[],
    (all) => JSON.stringify(all.map(({ name, state }) => [name, state])) === wanted,
    60_000,
  );
}

test(
  "links out, pipes, devices, huge files and what others may write are told; none of them is run",
  () =>
    arena.beside(async (round) => {
      if (round > 0) await clean();
      await symlink(join(outside, "evil.ts"), join(plugins, "link.ts"));
      await symlink(outside, join(plugins, "_outside"));
      await put("by-link", `import "./_outside/evil.ts";`);
      await symlink("/dev/zero", join(plugins, "device.ts"));
      await symlink("../token", join(plugins, "token.ts"));
      shell("mkfifo pipe.ts", plugins);
      await put("huge", "");
      await truncate(join(plugins, "huge.ts"), 10 * 2 ** 30);
      await put("open", `await Bun.write(${JSON.stringify(join(outside, "ran"))}, "");`);
      await chmod(join(plugins, "open.ts"), 0o666);
      const bad = ["link", "by-link", "device", "token", "pipe", "huge", "open"];
      const all = await lists({ good: "ready", ...Object.fromEntries(bad.map((name) => [name, "failed"])) });
      for (const { state, reason = "" } of all) {
        if (state === "failed")
          expect(reason).toMatch(/is a link to|is no file|bytes, more than|others can write/);
      }
      expect(JSON.stringify(all)).not.toContain(arena.gateway.token);
      expect(await arena.call("good.say")).toEqual({ said: "fine" });
      expect(await Bun.file(join(outside, "ran")).exists()).toBe(false);
    }),
  TIMEOUT_MS,
);

test(
  "50 that cannot be read, each in its own way",
  () =>
    arena.beside(async () => {
      const kinds = [
        "export default {",
        "\0\0\0",
        "[".repeat(100_000),
        "import '",
        "(".repeat(50_000),
        "<a>",
      ];
      const names = Array.from({ length: 50 }, (_, index) => `bad-${String(index).padStart(2, "0")}`);
      for (const [index, name] of names.entries()) await put(name, kinds[index % kinds.length] ?? "");
      await lists({ good: "ready", ...Object.fromEntries(names.map((name) => [name, "failed"])) });
      expect(await arena.call("good.say")).toEqual({ said: "fine" });
    }),
  TIMEOUT_MS,
);

test(
  "20,000 files beside one another: nothing of the directory is loaded, until they are gone",
  () =>
    arena.beside(async () => {
      await lists({ good: "ready" });
      shell("seq -f x%g.ts 20000 | xargs touch", plugins);
      await lists({});
      const { directories } = await arena.call("plugin.list");
      expect(directories[0].reason).toBe("it has more than 100 entries");
      await rm(plugins, { recursive: true });
      await mkdir(plugins, { mode: 0o700 });
      await put("good", sayer("good", `"fine"`));
      await lists({ good: "ready" });
    }),
  TIMEOUT_MS,
);

test(
  "one that changes all the time is what it was or what it is, never half of it",
  () =>
    arena.beside(async () => {
      await lists({ good: "ready" });
      let isOver = false;
      const writing = (async () => {
        for (let count = 0; !isOver; count++) {
          const text = sayer("good", `"${"x".repeat(1 + (count % 100))}"`);
          await writeFile(join(plugins, ".next"), text, { mode: 0o600 });
          await rename(join(plugins, ".next"), join(plugins, "good.ts"));
          await Bun.sleep(5);
        }
      })();
      const end = Date.now() + 3_000;
      while (Date.now() < end) {
        await arena.call("plugin.reload");
        await Bun.sleep(50);
        expect((await arena.call("good.say")).said).toMatch(/^(?:fine|x+)$/);
      }
      isOver = true;
      await writing;
      await put("good", sayer("good", `"fine"`));
      await eventually(
        async () => (await arena.call("good.say")).said,
        (said) => said === "fine",
        20_000,
      );
    }),
  TIMEOUT_MS,
);
