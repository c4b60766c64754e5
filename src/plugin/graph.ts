import { stat } from "node:fs/promises";
import { dirname, extname, isAbsolute, join, resolve } from "node:path";

/** Files a plug-in is made of, in the order they are first imported; itself first. */
export interface Graph {
  readonly files: readonly string[];
  /** Changes with any of them. */
  readonly digest: string;
}

export interface GraphBounds {
  /** Largest file. */
  readonly plugin_bytes: number;
  readonly plugin_files: number;
}

const EXTENSIONS = [".ts", ".tsx", ".mts", ".js", ".jsx", ".mjs", ".cjs", ".json"];
const LOADERS: Readonly<Record<string, "ts" | "tsx" | "js" | "jsx">> = {
  ".ts": "ts",
  ".mts": "ts",
  ".tsx": "tsx",
  ".jsx": "jsx",
  ".js": "js",
  ".mjs": "js",
  ".cjs": "js",
};

/**
 * The file of a plug-in and what it imports by relative paths, and they in turn; what it takes from packages is not
 * looked at. `check` is called with every file before it is read. @throws Error that says which file is wrong, and how
 */
export async function graphOf(
  entry: string,
  bounds: GraphBounds,
  check: (path: string) => Promise<void>,
): Promise<Graph> {
  const files = [entry];
  const hash = new Bun.CryptoHasher("sha256");
  for (const file of files) {
    if (files.length > bounds.plugin_files) throw new Error(`it has more than ${bounds.plugin_files} files`);
    await check(file);
    const text = await readText(file, bounds.plugin_bytes);
    hash.update(`${file}\0${text.length}\0${text}`);
    for (const path of importsOf(file, text)) {
      const found = await resolved(resolve(dirname(file), path));
      // What is not there is told by the import itself.
      if (found !== null && !files.includes(found)) files.push(found);
    }
  }
  return { files, digest: hash.digest("hex") };
}

async function readText(path: string, max: number): Promise<string> {
  const file = Bun.file(path);
  const { size } = await stat(path);
  if (size > max)
    throw new Error(`${path} has ${size} bytes, more than the ${max} that a file of a plug-in may have`);
  return file.slice(0, max).text();
}

/** Relative and absolute paths it imports. */
function importsOf(path: string, text: string): string[] {
  const loader = LOADERS[extname(path)];
  if (loader === undefined) return [];
  try {
    return new Bun.Transpiler({ loader })
      .scanImports(text)
      .map((each) => each.path)
      .filter((each) => each.startsWith("./") || each.startsWith("../") || isAbsolute(each));
  } catch {
    // It cannot be read, which is told by the import itself.
    return [];
  }
}

async function resolved(path: string): Promise<string | null> {
  const candidates = [
    path,
    ...EXTENSIONS.map((extension) => path + extension),
    ...EXTENSIONS.map((extension) => join(path, `index${extension}`)),
  ];
  for (const candidate of candidates) if (await isFile(candidate)) return candidate;
  return null;
}

async function isFile(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isFile(),
    () => false,
  );
}
