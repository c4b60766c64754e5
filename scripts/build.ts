import { rmSync, statSync } from "node:fs";
import { relative, resolve } from "node:path";
import { parseArgs } from "node:util";
import { compile } from "./compile.ts";
import { packConsole } from "./pack-console.ts";

/** Compiles the executable for this machine: `bun scripts/build.ts [--outfile FILE] [--target bun-linux-arm64]`. */
const root = resolve(import.meta.dir, "..");
const { values } = parseArgs({
  options: { outfile: { type: "string", default: "dist/agentbus" }, target: { type: "string" } },
});
const outfile = resolve(root, values.outfile);

const started = performance.now();
const pages = await packConsole(`${outfile}.${process.pid}`);
try {
  await compile({ outfile, pages, ...(values.target !== undefined && { target: values.target }) });
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 1;
} finally {
  rmSync(resolve(pages, ".."), { recursive: true });
}
if (process.exitCode !== 1) {
  const megabytes = Math.round(statSync(outfile).size / 1_000_000);
  const seconds = ((performance.now() - started) / 1_000).toFixed(1);
  console.log(`built ${relative(process.cwd(), outfile)}: ${megabytes} MB in ${seconds} s`);
}
