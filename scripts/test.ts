import { availableParallelism } from "node:os";
import { resolve } from "node:path";
import { parseArgs } from "node:util";

/**
 * Builds the executable and runs every test: `bun scripts/test.ts [--only PATH]... [--binary]`.
 *
 * `--only test/core` runs what begins with that path, `--binary` only what runs against the executable. The last line is
 * the result, `N passed, M failed`; the exit code is 1 where anything failed, nothing ran or, with CI=true, a test was skipped.
 */
const root = resolve(import.meta.dir, "..");
const executable = resolve(root, "dist/agentbus");
/** Longest test that does not say otherwise, on a machine that has much else to do. */
const TEST_MS = 30_000;
/**
 * Test the executable, whatever else they do. They hold a promise in seconds, or a latency beside somebody hostile, on a machine
 * that may be shared, so one file runs at a time.
 */
const BINARY_ONLY = ["test/cluster/", "test/console/", "test/hostile/", "test/process/"];
/** A file that fails is run once more by itself. What passes then is named as flaky; more than a few at once are not chance. */
const MAX_FLAKY = 3;
/** Hold for the sources and for the executable. */
const BOTH = ["test/gateway/"];
/** Of these the ones that ask most of the store hold on PostgreSQL, too. */
const ON_POSTGRES = [
  "attachments",
  "history",
  "idempotency",
  "lanes",
  "search",
  "session-list",
  "sessions",
  "trimmed",
  "usage",
].map((name) => `test/gateway/${name}.test.ts`);

interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}

interface Outcome extends Counts {
  /** Files with a test that failed; null where a failure belongs to no test. */
  readonly failing: ReadonlyMap<string, string[]> | null;
  /** The names of tests that passed. */
  readonly passing: ReadonlySet<string>;
}

function testFiles(only: readonly string[]): string[] {
  const files = [...new Bun.Glob("test/**/*.test.ts").scanSync({ cwd: root })].sort();
  const wanted = only.map((path) => path.replace(/^\.\//, ""));
  return wanted.length === 0 ? files : files.filter((file) => wanted.some((path) => file.startsWith(path)));
}

function among(file: string, places: readonly string[]): boolean {
  return places.some((place) => file.startsWith(place));
}

/** One run of `bun test`, passed on as it comes; `threads`: files that run at a time. */
async function runTests(
  files: readonly string[],
  env: Record<string, string>,
  threads = 1,
): Promise<Outcome> {
  if (files.length === 0) return { passed: 0, failed: 0, skipped: 0, failing: new Map(), passing: new Set() };
  const child = Bun.spawn(
    [
      process.execPath,
      "test",
      `--timeout=${TEST_MS}`,
      ...(threads > 1 ? [`--parallel=${threads}`] : []),
      ...files.map((file) => `./${file}`),
    ],
    {
      cwd: root,
      env: { ...process.env, ...(process.stderr.isTTY && { FORCE_COLOR: "1" }), ...env },
      stdin: "ignore",
      stdout: "inherit",
      stderr: "pipe",
    },
  );
  // bun test writes its results to stderr.
  const decoder = new TextDecoder();
  let output = "";
  for await (const chunk of child.stderr) {
    process.stderr.write(chunk);
    output += decoder.decode(chunk, { stream: true });
  }
  output = Bun.stripANSI(output);
  const counts = count(output.slice(-4_000), await child.exited);
  const failing = failuresOf(output);
  const named = [...failing.values()].flat().length;
  const passing = new Set([...output.matchAll(/^\(pass\) (.*)$/gm)].map(([, line = ""]) => nameIn(line)));
  return { ...counts, failing: named === counts.failed ? failing : null, passing };
}

/** The tests that failed, by file: every file has a heading of its own, and its results stand below. */
function failuresOf(output: string): Map<string, string[]> {
  const failing = new Map<string, string[]>();
  const [results = ""] = output.split(/^\d+ tests failed:$/m);
  let file = "";
  for (const line of results.split("\n")) {
    file = /^(test\/\S+\.test\.ts):$/.exec(line)?.[1] ?? file;
    if (!line.startsWith("(fail) ")) continue;
    failing.set(file, [...(failing.get(file) ?? []), nameIn(line.slice("(fail) ".length))]);
  }
  return failing;
}

/** Without the time it took. */
function nameIn(line: string): string {
  return line.replace(/ \[[\d.]+m?s\]$/, "");
}

/** As `runTests`; what failed gets a second try, one file after the other. */
async function runTwice(files: readonly string[], env: Record<string, string>, threads = 1): Promise<Counts> {
  const first = await runTests(files, env, threads);
  const failing = [...(first.failing ?? [])];
  if (first.failed === 0 || first.failing === null || failing.length > MAX_FLAKY) return first;
  console.error(`once more: ${failing.map(([file]) => file).join(", ")}`);
  const again = await runTests(
    failing.map(([file]) => file),
    env,
  );
  const names = failing.flatMap(([, each]) => each);
  if (again.failed > 0 || names.some((name) => !again.passing.has(name))) return first;
  for (const [file, each] of failing) {
    for (const name of each)
      console.error(`flaky: ${file}: ${name} failed, and passed when it was run again`);
  }
  return { passed: first.passed + first.failed, failed: 0, skipped: first.skipped };
}

/** What the summary at the end says. A run that broke off, or failed outside of a test, has failed. */
function count(output: string, code: number): Counts {
  const summary = output.slice(Math.max(0, output.search(/^ *\d+ pass$(?![\s\S]*^ *\d+ pass$)/m)));
  const number = (what: string): number =>
    Number(new RegExp(`^ *(\\d+) ${what}$`, "m").exec(summary)?.[1] ?? 0);
  const failed = number("fail");
  const complete = /^Ran \d+ tests? across/m.test(summary);
  const broken = !complete || (code !== 0 && failed === 0);
  if (broken) console.error(`bun test ended with ${code}${complete ? "" : " and without a summary"}`);
  return {
    passed: number("pass"),
    failed: failed + (broken ? 1 : 0),
    skipped: number("skip") + number("todo"),
  };
}

function build(): boolean {
  const { success } = Bun.spawnSync([process.execPath, "scripts/build.ts"], {
    cwd: root,
    stdio: ["ignore", "inherit", "inherit"],
  });
  return success;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      only: { type: "string", multiple: true, default: [] },
      binary: { type: "boolean", default: false },
    },
  });
  const files = testFiles(values.only);
  const source = values.binary ? [] : files.filter((file) => !among(file, BINARY_ONLY));
  const binary = files.filter((file) => among(file, [...BINARY_ONLY, ...BOTH]));
  const total: Counts = { passed: 0, failed: 0, skipped: 0 };
  const add = (counts: Counts): void => {
    for (const key of ["passed", "failed", "skipped"] as const) total[key] += counts[key];
  };
  const built = binary.length === 0 || build();
  if (!built) total.failed++;
  const threads = availableParallelism();
  add(await runTwice(source, { AGENTBUS_BINARY: "" }, threads));
  if (built) {
    const env = { AGENTBUS_BINARY: executable };
    const timed = binary.filter((file) => among(file, BINARY_ONLY));
    const others = binary.filter((file) => among(file, BOTH));
    add(await runTwice(others, env, threads));
    const again = others.filter((file) => ON_POSTGRES.includes(file));
    add(await runTwice(again, { ...env, AGENTBUS_TEST_STORE: "postgres" }));
    add(await runTwice(timed, env));
  }

  const { passed, failed, skipped } = total;
  const strict = process.env["CI"] === "true";
  if (strict && skipped > 0) console.error("with CI=true nothing may be skipped");
  if (passed + failed === 0) console.error("no test ran");
  process.exitCode = failed > 0 || passed === 0 || (strict && skipped > 0) ? 1 : 0;
  // The result is the last line, also where both streams go to one place.
  await new Promise<void>((resolve) => process.stderr.write("", () => resolve()));
  console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`);
}

await main();
