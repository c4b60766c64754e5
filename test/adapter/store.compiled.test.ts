import { expect, test } from "bun:test";
import { cp, mkdir, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { temporaryDirectory } from "./store.sqlite.ts";

const ROOT = join(import.meta.dir, "..", "..");

/** The same flags as the executable is made with. */
const FLAGS = [
  "--compile",
  "--bytecode",
  "--format=esm",
  "--minify-whitespace",
  "--minify-syntax",
  "--no-compile-autoload-dotenv",
  "--no-compile-autoload-bunfig",
];

const ENTRY = `
import { DEFAULT_LIMITS } from "./core/limits.ts";
import { createSqliteStore } from "./store/sqlite/store.ts";

async function main(data_dir: string): Promise<void> {
  const clock = {
    now: () => 1_763_776_800_000,
    monotonic: () => performance.now(),
    after: (ms: number, task: () => void) => { const timer = setTimeout(task, ms); return () => clearTimeout(timer); },
    every: () => () => undefined,
  };
  const quiet = () => undefined;
  const log = { debug: quiet, info: quiet, warn: quiet, error: console.error, child: () => log };
  const store = createSqliteStore({ data_dir, durability: "full", clock, log, limits: DEFAULT_LIMITS });
  const { last_stop } = await store.open();
  const create = {
    kind: "session.create", owner: "ada", name: "n", epoch: "epoch001", title: "", model: null,
    system_prompt: null, metadata: "{}", created_at: 1, revive: false,
  } as const;
  const event = { type: "session.created", ts: 1, run_id: null, payload: "{}" };
  const results = await store.commit([{ kind: "append", session: "ses_a", run: null, ack: true, events: [event], rows: [create] }]);
  const named = await store.named("ada", "n");
  const page = await store.page("ses_a", 0, 1);
  await store.close();
  console.log(JSON.stringify({ compiled: import.meta.url.includes("$bunfs"), last_stop, results, named, page }));
}
void main(process.argv[2] ?? "");
`;

test("both workers run in a compiled executable", async () => {
  await using directory = await temporaryDirectory();
  const src = join(directory.path, "src");
  await mkdir(src);
  for (const part of ["core", "protocol", "store"]) {
    await cp(join(ROOT, "src", part), join(src, part), { recursive: true });
  }
  await symlink(join(ROOT, "node_modules"), join(directory.path, "node_modules"));
  await writeFile(join(src, "main.ts"), ENTRY);
  const entries = ["src/main.ts", "src/store/sqlite/writer.ts", "src/store/sqlite/reader.ts"];
  const build = Bun.spawnSync([process.execPath, "build", ...FLAGS, ...entries, "--outfile", "store-test"], {
    cwd: directory.path,
  });
  expect(build.exitCode, build.stderr.toString()).toBe(0);

  // Elsewhere than the sources, so that only what is inside the executable can be found.
  const run = Bun.spawnSync([join(directory.path, "store-test"), join(directory.path, "data")], { cwd: "/" });
  expect(run.stderr.toString()).toBe("");
  expect(JSON.parse(run.stdout.toString())).toMatchObject({
    compiled: true,
    last_stop: "clean",
    results: { ok: true, results: [{ ok: true, first_seq: 1, epoch: "epoch001" }] },
    named: { id: "ses_a", head: 1, archived: false },
    page: { head: 1, events: [{ seq: 1, type: "session.created" }] },
  });
}, 60_000);
