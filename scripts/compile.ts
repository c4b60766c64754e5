import { resolve } from "node:path";
import type { Build } from "../src/build.ts";

interface Compiled {
  readonly outfile: string;
  /** The directory of the console's files, as packConsole made it. */
  readonly pages: string;
  /** A target of `bun build --compile`; default: this machine. */
  readonly target?: string;
  /** The Bun that goes in; default: Bun's own way to find it. */
  readonly runtime?: string;
  readonly build?: Build;
}

const ROOT = resolve(import.meta.dir, "..");
/** The workers are entry points of their own: an executable finds them by their path below src/. */
const ENTRIES = [
  "src/main.ts",
  "src/store/sqlite/writer.ts",
  "src/store/sqlite/reader.ts",
  "src/plugin/watchdog.ts",
  "src/plugin/isolate.ts",
];

/**
 * Compiles the executable. The same sources, options and last part of `outfile` make the same bytes. `--define` and the rest are
 * what the compiled gateway relies on; never minify names, Elysia reads source text.
 * @throws with what the compiler said
 */
export async function compile({ outfile, pages, target, runtime, build }: Compiled): Promise<void> {
  const child = Bun.spawn({
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
      // Where packages stood on the machine that built it is nobody's business, and would make other bytes elsewhere.
      ...["__dirname", "__filename"].flatMap((name) => ["--define", `${name}="/"`]),
      ...(build === undefined ? [] : ["--define", `AGENTBUS_BUILD=${JSON.stringify(build)}`]),
      "--no-compile-autoload-dotenv",
      "--no-compile-autoload-bunfig",
      // Plug-ins may have packages of their own beside them.
      "--compile-autoload-package-json",
      "--compile-exec-argv=--unhandled-rejections=throw",
      ...(target === undefined ? [] : [`--target=${target}`]),
      ...(runtime === undefined ? [] : [`--compile-executable-path=${runtime}`]),
      `--asset=${pages}`,
      ...ENTRIES,
      "--outfile",
      outfile,
    ],
    cwd: ROOT,
    stdout: "pipe",
    stderr: "pipe",
  });
  const [out, err, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  if (code !== 0) throw new Error(`${outfile} was not built\n${out}${err}`);
}
