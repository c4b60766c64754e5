import { expect, test } from "bun:test";
import { join } from "node:path";
import { promisify } from "node:util";
import { until } from "../support/engine.ts";
import { openPlugins, sayer } from "./plugin.fixture.ts";

const COUNT = `const counts = ((globalThis as Record<string, unknown>).stray_counts ??= {}) as Record<string, number>;
const count = (name: string): void => void (counts[name] = (counts[name] ?? 0) + 1);`;
const counted = (name: string): number => {
  const counts = (globalThis as Record<string, unknown>)["stray_counts"] as
    | Record<string, number>
    | undefined;
  return counts?.[name] ?? 0;
};
/** Long enough for a timer that still runs to show it. */
const turns = async (): Promise<void> => {
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setTimeout(resolve, 2));
};

test("timers end with their plug-in, wherever it began them; other timers go on", async () => {
  await using world = await openPlugins();
  let own = 0;
  const timer = setInterval(() => own++, 1);
  const says = `(setInterval(() => count("called"), 1), go(), "x")`;
  const head = `${COUNT}
setInterval(() => count("module"), 1);
const go = (): void => void setTimeout(() => { count("again"); go(); }, 1);`;
  await world.write("plugins/ticks.ts", sayer("ticks", says, head));
  await world.folders.start();
  await world.call("ticks.say");
  const names = ["module", "called", "again"];
  await until(() => names.every((name) => counted(name) > 1));
  await world.remove("plugins/ticks.ts");
  await world.folders.reload();
  const before = names.map(counted);
  const mine = own;
  await turns();
  expect(names.map(counted)).toEqual(before);
  expect(own).toBeGreaterThan(mine);
  clearInterval(timer);
});

test("a new version ends the timers of the one before it", async () => {
  await using world = await openPlugins();
  const version = (n: number): string =>
    sayer("ticks", `"x"`, `${COUNT}\nsetInterval(() => count("version ${n}"), 1);`);
  await world.write("plugins/ticks.ts", version(1));
  await world.folders.start();
  await until(() => counted("version 1") > 0);
  await world.write("plugins/ticks.ts", version(2));
  await world.folders.reload();
  await until(() => counted("version 2") > 0);
  const before = counted("version 1");
  await turns();
  expect(counted("version 1")).toBe(before);
});

test("what timers do otherwise stays: handles, promisify, clearing", async () => {
  await using world = await openPlugins();
  await world.write("plugins/a.ts", sayer("a", `"x"`));
  await world.folders.start();
  await promisify(setTimeout)(1);
  let fired = false;
  const timer = setTimeout(() => (fired = true), 1);
  expect(timer.hasRef()).toBe(true);
  clearTimeout(timer);
  await turns();
  expect(fired).toBe(false);
});

/** A process with a plug-in in `plug.ts`, whose code is that of an error somewhere else too. */
async function elsewhere(script: string): Promise<{ readonly code: number; readonly out: string }> {
  const at = (file: string): string => JSON.stringify(join(import.meta.dir, "../../src/plugin", file));
  const head = `import { Stage } from ${at("stage.ts")};
import { Strays } from ${at("strays.ts")};
const log = { error: ({ err }, what) => console.log(what + ": " + err.message) };
const strays = new Strays(log);
const watch = { numberOf: () => 1 };
strays.add(new Stage({ source: "plug", name: "plug", digest: "", files: ["/nowhere/plug.ts"] }, watch, {}));
setTimeout(() => { console.log("lives"); process.exit(0); }, 500);
`;
  const child = Bun.spawn([process.execPath, "-e", head + script], { stdout: "pipe", stderr: "pipe" });
  const out = await new Response(child.stdout).text();
  return { code: await child.exited, out: out.trim() };
}

test("an error of the gateway's own ends the process, with plug-ins as without", async () => {
  const ended = "something failed that nobody waited for: the process ends: own";
  for (const script of [
    `void Promise.reject(new Error("own"));`,
    `setTimeout(() => { throw new Error("own"); }, 1);`,
  ]) {
    expect(await elsewhere(script)).toEqual({ code: 1, out: ended });
  }
  const program = `process.on("uncaughtException", () => undefined); process.on("unhandledRejection", () => undefined);`;
  expect(await elsewhere(`${program} setTimeout(() => { throw new Error("own"); }, 1);`)).toEqual({
    code: 0,
    out: "lives",
  });
});

test("with several gateways in one process an error of their own ends it, too", async () => {
  const ended = "something failed that nobody waited for: the process ends: own";
  const other = `const others = new Strays({ error: () => undefined });
others.add(new Stage({ source: "other", name: "other", digest: "", files: ["/nowhere/other.ts"] }, watch, {}));`;
  const own = `setTimeout(() => { throw new Error("own"); }, 1);`;
  expect(await elsewhere(`${other} ${own}`)).toEqual({ code: 1, out: ended });
  expect(await elsewhere(`${other} void Promise.reject(new Error("own"));`)).toEqual({ code: 1, out: ended });
  expect(await elsewhere(`${other} others.uninstall(); ${own}`)).toEqual({ code: 1, out: ended });
  const program = `process.on("uncaughtException", () => undefined);`;
  expect(await elsewhere(`${other} ${program} ${own}`)).toEqual({ code: 0, out: "lives" });
});
