import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { refreshDocs } from "./docs.ts";
import { refreshTable } from "./table.ts";

/**
 * The one gate: `bun scripts/check.ts [--no-test] [--fix]`. Format, lint, types, the generated parts of the documents, then
 * the tests. `--fix` mends what can be mended first. Exit code 1 where anything is wrong; every step runs whatever the one
 * before said, but the tests only after the others held.
 */
const root = resolve(import.meta.dir, "..");
const { values } = parseArgs({
  options: { "no-test": { type: "boolean", default: false }, fix: { type: "boolean", default: false } },
});
const bin = (name: string): string => resolve(root, "node_modules/.bin", name);

/** With CI set the tools write colours where there is no terminal. */
const { CI: _, ...plain } = process.env;

function step(name: string, cmd: readonly string[], env: NodeJS.ProcessEnv = plain): boolean {
  const started = performance.now();
  const { exitCode } = Bun.spawnSync([...cmd], {
    cwd: root,
    env,
    stdio: ["ignore", "inherit", "inherit"],
  });
  const seconds = ((performance.now() - started) / 1_000).toFixed(1);
  console.log(`${exitCode === 0 ? "ok    " : "FAILED"} ${name} (${seconds} s)`);
  return exitCode === 0;
}

function checkTable(): boolean {
  const state = refreshTable(resolve(root, "README.md"), values.fix);
  if (state === "stale") {
    console.log("FAILED table of options: README.md is stale, run bun scripts/table.ts");
  } else if (state !== "none") console.log("ok     table of options");
  return state !== "stale";
}

function checkDocs(): boolean {
  const state = refreshDocs(values.fix);
  const fresh = state !== "stale";
  console.log(
    fresh ? "ok     docs/protocol.md" : "FAILED docs/protocol.md is stale, run bun scripts/docs.ts",
  );
  return fresh;
}

const fix = values.fix;
const held = [
  step("format", [bin("oxfmt"), fix ? "--write" : "--check"]),
  step("lint", [bin("oxlint"), ...(fix ? ["--fix"] : [])]),
  step("types", [bin("tsc"), "--noEmit"]),
  checkTable(),
  checkDocs(),
].every(Boolean);
const tested =
  held && (values["no-test"] || step("tests", [process.execPath, "scripts/test.ts"], process.env));
process.exitCode = tested ? 0 : 1;
