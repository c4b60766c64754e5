import { availableParallelism } from "node:os";
import { resolve } from "node:path";
import { parseArgs } from "node:util";

/**
 * Builds the executable and runs every test: `bun scripts/test.ts [--only PATH]... [--binary] [--update-timings]`.
 *
 * `--only test/core` runs what begins with that path, `--binary` only what runs against the executable, `--update-timings`
 * writes down how long each file took. The last line is the result, `N passed, M failed`; the exit code is 1 where anything
 * failed, nothing ran or, with CI=true, a test was skipped.
 */
const root = resolve(import.meta.dir, "..");
const executable = resolve(root, "dist/agentbus");
/** Longest test that does not say otherwise, on a machine that has much else to do. */
const TEST_MS = 30_000;
/**
 * How long each file takes, ms: the longest ones are begun first. It decides nothing else, and need not be exact. Files that
 * only wait while another one builds what both need (releases, a Debian) are given less than they take, so that it is there.
 */
const TIMINGS = "test/timings.json";
/** Test the executable, whatever else they do. */
const BINARY_ONLY = ["test/cluster/", "test/console/", "test/gateway/", "test/hostile/", "test/process/"];
/** Of these, what has a browser draw. */
const PAGES = ["test/console/"];
/** Of these, what measures how fast something is: no other file runs meanwhile. */
const ALONE = [
  // How a page of five thousand messages feels.
  "test/console/long.test.ts",
  // How long somebody who behaves waits beside an attack, and what memory it leaves.
  "test/hostile/",
  // Requests that write nothing, while a disk is slow.
  "test/process/disk.test.ts",
  // A socket, beside two hundred passwords.
  "test/process/password.test.ts",
  // Fifty readers, beside one that does not read.
  "test/process/slow.test.ts",
  // Two hundred clients, until all of them are back.
  "test/process/takeover.test.ts",
  // Right tokens, beside wrong ones.
  "test/process/throttle.test.ts",
];
/** A file that fails is run once more by itself. What passes then is named as flaky; more than a few at once are not chance. */
const MAX_FLAKY = 3;
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

/** A number of files that run under the same circumstances. */
interface Suite {
  readonly name: string;
  readonly files: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** Files that run at a time. */
  readonly threads: number;
}

/** A server of PostgreSQL for all files of a suite, as postgres://USER@HOST:PORT; it ends with this process. "": there is none. */
async function postgresServer(): Promise<string> {
  const { hasPostgres, testCluster } = await import("../test/support/postgres.ts");
  return hasPostgres ? (await testCluster()).url("").replace(/\/$/, "") : "";
}

/** One run of `bun test`, passed on as it comes; `more`: arguments of its own. */
async function runTests({ files, env, threads }: Suite, more: readonly string[] = []): Promise<Outcome> {
  const child = Bun.spawn(
    [
      process.execPath,
      "test",
      `--timeout=${TEST_MS}`,
      `--timings=${TIMINGS}`,
      ...(threads > 1 ? [`--parallel=${threads}`] : []),
      ...more,
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
async function runTwice(suite: Suite, more: readonly string[]): Promise<Counts> {
  const first = await runTests(suite, more);
  const failing = [...(first.failing ?? [])];
  if (first.failed === 0 || first.failing === null || failing.length > MAX_FLAKY) return first;
  console.error(`once more: ${failing.map(([file]) => file).join(", ")}`);
  const again = await runTests({ ...suite, files: failing.map(([file]) => file), threads: 1 });
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

/** What there is to run of these files, in this order; without an executable, what needs none. */
function suitesOf(files: readonly string[], binary_only: boolean, built: boolean): Suite[] {
  // One more than there are processors: most tests wait now and then.
  const threads = availableParallelism() + 1;
  const env = { AGENTBUS_BINARY: executable };
  const on_binary = files.filter((file) => among(file, BINARY_ONLY));
  const source: Suite = {
    name: "sources",
    files: files.filter((file) => !among(file, BINARY_ONLY)),
    env: { AGENTBUS_BINARY: "" },
    threads,
  };
  const shared = on_binary.filter((file) => !among(file, ALONE));
  const binary: Suite[] = [
    { name: "executable", files: shared.filter((file) => !among(file, PAGES)), env, threads },
    // Each keeps a processor busy by itself: more at a time would only be slower.
    {
      name: "pages",
      files: shared.filter((file) => among(file, PAGES)),
      env,
      threads: availableParallelism(),
    },
    {
      name: "on PostgreSQL",
      files: on_binary.filter((file) => ON_POSTGRES.includes(file)),
      env: { ...env, AGENTBUS_TEST_STORE: "postgres" },
      threads,
    },
    { name: "alone", files: on_binary.filter((file) => among(file, ALONE)), env, threads: 1 },
  ];
  const all = [...(binary_only ? [] : [source]), ...(built ? binary : [])];
  return all.filter((suite) => suite.files.length > 0);
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      only: { type: "string", multiple: true, default: [] },
      binary: { type: "boolean", default: false },
      "update-timings": { type: "boolean", default: false },
    },
  });
  const files = testFiles(values.only);
  const binary = files.filter((file) => among(file, BINARY_ONLY));
  const total: Counts = { passed: 0, failed: 0, skipped: 0 };
  const built = binary.length === 0 || build();
  if (!built) total.failed++;
  const times: string[] = [];
  for (const planned of suitesOf(files, values.binary, built)) {
    const started = performance.now();
    const on_postgres = planned.env["AGENTBUS_TEST_STORE"] === "postgres";
    const server = on_postgres ? { AGENTBUS_TEST_POSTGRES: await postgresServer() } : {};
    const suite = { ...planned, env: { ...planned.env, ...server } };
    const counts = await runTwice(suite, values["update-timings"] ? ["--update-timings"] : []);
    for (const key of ["passed", "failed", "skipped"] as const) total[key] += counts[key];
    times.push(`${suite.name} ${Math.round((performance.now() - started) / 1_000)} s`);
  }
  if (times.length > 0) console.error(`took: ${times.join(", ")}`);

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
