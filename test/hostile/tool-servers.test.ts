import { afterAll, beforeAll, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Arena } from "./beside.ts";
import { openArena, until } from "./beside.ts";

/** Tool servers that mean harm, from one start to the next, while somebody else talks with the gateway. */

const TIMEOUT_MS = 400_000;
const HOSTILE = join(import.meta.dir, "../support/mcp-hostile.ts");
const HOW = ["huge-line", "flood", "pings", "stderr"] as const;
const ENDED = ["huge-line", "flood", "pings"];

let arena: Arena;
let place: string;
let when: string;
beforeAll(async () => {
  place = await mkdtemp(join(tmpdir(), "agentbus-tools-"));
  when = join(place, "now");
  const KEY = "only-this-server-may-know";
  const servers = Object.fromEntries(
    HOW.map((how) => [how, { command: process.execPath, args: [HOSTILE, how], env: { WHEN: when, KEY } }]),
  );
  arena = await openArena({ config: { mcp: { servers } } });
  arena.secret(KEY);
  await until(() => told("a tool server is ready").size === HOW.length, "every server", 60_000);
});
afterAll(async () => {
  await arena[Symbol.asyncDispose]();
  await rm(place, { recursive: true, force: true });
});

/** Which servers this was said of, since the start. */
function told(msg: string): Set<unknown> {
  return new Set(arena.gateway.log.filter((line) => line.msg.startsWith(msg)).map((line) => line["server"]));
}

/** How often one of them was started. */
function starts(): number {
  return readFileSync(`${when}.starts`, "utf8").split("\n").length - 1;
}

async function states(): Promise<string[]> {
  const { servers } = await arena.call("tool.list");
  return servers.map(({ name, state }: { name: string; state: string }) => `${name}: ${state}`);
}

test(
  "floods, lines without end and noise by tool servers, again and again: they are ended, and come back when they behave",
  () =>
    arena.beside(async () => {
      const before = starts();
      await writeFile(when, "");
      await until(
        () => ENDED.every((how) => told("a tool server is gone").has(how)),
        "the end of each",
        30_000,
      );
      await until(() => starts() - before >= ENDED.length, "another start of each", 90_000);
      await rm(when);
      const ready = HOW.map((how) => `${how}: ready`).join();
      const end = Date.now() + 90_000;
      while ((await states()).join() !== ready) {
        if (Date.now() > end) throw new Error(`they do not come back: ${(await states()).join()}`);
        await Bun.sleep(50);
      }
      expect(arena.gateway.log.filter(({ msg }) => msg === "a tool server said").length).toBeLessThan(100);
    }),
  TIMEOUT_MS,
);
