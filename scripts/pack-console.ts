import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { brotliCompressSync, gzipSync } from "node:zlib";
import { buildConsole } from "../src/console-build.ts";
import { CONSOLE_DIRECTORY, CONSOLE_ENTRY } from "../src/console-files.ts";

/** The console, compressed as well as it gets, in a directory that the executable takes up as it is. */
export async function packConsole(place: string): Promise<string> {
  const directory = join(place, CONSOLE_DIRECTORY);
  mkdirSync(directory, { recursive: true });
  const { entry, files } = await buildConsole();
  let bytes = 0;
  for (const file of files) {
    const packed = brotliCompressSync(file.bytes);
    bytes += packed.length;
    writeFileSync(join(directory, `${file.name}.br`), packed);
    writeFileSync(join(directory, `${file.name}.gz`), gzipSync(file.bytes, { level: 9 }));
  }
  writeFileSync(
    join(directory, CONSOLE_ENTRY),
    JSON.stringify({ entry, names: files.map(({ name }) => name) }),
  );
  console.log(`console: ${Math.round(bytes / 1_000)} KB compressed, ${files.length} files`);
  return directory;
}
