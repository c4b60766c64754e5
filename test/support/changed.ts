import { statSync } from "node:fs";
import { resolve } from "node:path";

const ROOT = resolve(import.meta.dir, "../..");

/** When any of these files was changed last, ms since 1970: paths and patterns, from the root of the project. */
export function changedAt(patterns: readonly string[]): number {
  const files = patterns.flatMap((pattern) =>
    /[*{]/.test(pattern) ? [...new Bun.Glob(pattern).scanSync({ cwd: ROOT })] : [pattern],
  );
  return Math.max(...files.map((file) => statSync(resolve(ROOT, file)).mtimeMs));
}
