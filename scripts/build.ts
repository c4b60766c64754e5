import { rmSync, statSync } from "node:fs";
import { basename, relative, resolve } from "node:path";
import { parseArgs } from "node:util";
import { packConsole } from "./pack-console.ts";

/**
 * Compiles the executable: `bun scripts/build.ts [--outfile FILE] [--target bun-linux-arm64]`.
 * `--define` and the rest are what the compiled gateway relies on; never minify names, Elysia reads source text.
 */
const root = resolve(import.meta.dir, "..");
const { values } = parseArgs({
  options: { outfile: { type: "string", default: "dist/agentbus" }, target: { type: "string" } },
});
const outfile = resolve(root, values.outfile);
/** The workers are entry points of their own: an executable finds them by their path below src/. */
const entries = [
  "src/main.ts",
  "src/store/sqlite/writer.ts",
  "src/store/sqlite/reader.ts",
  "src/plugin/watchdog.ts",
  "src/plugin/isolate.ts",
];

const started = performance.now();
const pages = await packConsole(`${outfile}.${process.pid}`);
const build = Bun.spawnSync({
  cmd: [
    process.execPath,
    "build",
    "--compile",
    "--bytecode",
    "--format=esm",
    "--minify-whitespace",
    "--minify-syntax",
    "--sourcemap",
    "--define",
    'process.env.NODE_ENV="production"',
    "--no-compile-autoload-dotenv",
    "--no-compile-autoload-bunfig",
    // Plug-ins may have packages of their own beside them.
    "--compile-autoload-package-json",
    "--compile-exec-argv=--unhandled-rejections=throw",
    ...(values.target === undefined ? [] : [`--target=${values.target}`]),
    `--asset=${pages}`,
    ...entries,
    "--outfile",
    outfile,
  ],
  cwd: root,
  stdout: "pipe",
  stderr: "pipe",
});
rmSync(resolve(pages, ".."), { recursive: true });
if (!build.success) {
  process.stderr.write(build.stdout);
  process.stderr.write(build.stderr);
  console.error(`${basename(outfile)} was not built`);
  process.exit(1);
}
const megabytes = Math.round(statSync(outfile).size / 1_000_000);
const seconds = ((performance.now() - started) / 1_000).toFixed(1);
console.log(`built ${relative(process.cwd(), outfile)}: ${megabytes} MB in ${seconds} s`);
