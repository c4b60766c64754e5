import { existsSync } from "node:fs";
import { join } from "node:path";
import type { ConsoleEntry } from "./console-build.ts";
import { buildConsole } from "./console-build.ts";
import type { ConsoleAssets } from "./transport/context.ts";

/** Where the console is in the executable, and beside the modules in the package: `ENTRY` and, of each file, FILE.br and FILE.gz. */
export const CONSOLE_DIRECTORY = "console";
export const CONSOLE_ENTRY = "entry.json";

/** The console of this executable or package; run from the sources it is bundled when somebody asks for the first time. */
export function consoleFiles(): ConsoleAssets {
  const directory = join(import.meta.dir, CONSOLE_DIRECTORY);
  const isBuilt = Bun.isStandaloneExecutable || existsSync(join(directory, CONSOLE_ENTRY));
  return isBuilt ? embedded(directory) : fromSources();
}

function embedded(directory: string): ConsoleAssets {
  let entry: Promise<{ entry: ConsoleEntry; names: string[] }> | null = null;
  const read = () => (entry ??= Bun.file(join(directory, CONSOLE_ENTRY)).json());
  return {
    entry: async () => (await read()).entry,
    async find(name, encodings) {
      // Only what is listed: a name from outside never becomes a path.
      if (!(await read()).names.includes(name)) return null;
      const encoding = (["br", "gzip"] as const).find((each) => encodings.includes(each));
      if (encoding === "br") return { body: Bun.file(join(directory, `${name}.br`)), encoding };
      const packed = Bun.file(join(directory, `${name}.gz`));
      if (encoding === "gzip") return { body: packed, encoding };
      return { body: new Blob([Bun.gunzipSync(await packed.bytes())]), encoding: null };
    },
  };
}

function fromSources(): ConsoleAssets {
  let built: ReturnType<typeof buildConsole> | null = null;
  const build = () => (built ??= buildConsole());
  return {
    entry: async () => (await build()).entry,
    async find(name) {
      const file = (await build()).files.find((each) => each.name === name);
      return file === undefined ? null : { body: new Blob([file.bytes]), encoding: null };
    },
  };
}
