import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

/**
 * Writes the declarations of modules below src/, and of what their declarations name, into `outdir`.
 * @throws where they name a package that is not among `packages`: whoever installs ours would not have it
 */
export function copyDeclarations(
  root: string,
  outdir: string,
  modules: readonly string[],
  packages: readonly string[],
): void {
  // Below the project, where the compiler finds the types of its packages.
  const emitted = mkdtempSync(join(root, "node_modules/.agentbus-types-"));
  try {
    emit(root, emitted);
    const from = join(emitted, "out/src");
    const seen = new Set<string>();
    const copy = (path: string): void => {
      if (seen.has(path)) return;
      seen.add(path);
      const text = readFileSync(join(from, path), "utf8");
      const rewritten = text.replaceAll(SPECIFIER, (_, before: string, specifier: string, after: string) => {
        if (!specifier.startsWith(".")) {
          if (packages.some((each) => `${specifier}/`.startsWith(`${each}/`)))
            return `${before}${specifier}${after}`;
          throw new Error(`${path} names the package ${specifier}`);
        }
        const to = specifier.replace(/\.ts$/, "");
        copy(join(dirname(path), `${to}.d.ts`));
        return `${before}${to}.js${after}`;
      });
      mkdirSync(dirname(join(outdir, path)), { recursive: true });
      writeFileSync(join(outdir, path), rewritten);
    };
    for (const module of modules) copy(`${module}.d.ts`);
  } finally {
    rmSync(emitted, { recursive: true, force: true });
  }
}

/** Of statements and of `import("…")`; what comments name is left alone. */
const SPECIFIER = /(^(?:import|export)\b[^";]*?\bfrom\s*"|^import\s*"|\bimport\(")([^"\n]+)(")/gm;

/** Of src/ alone: what is wrong in a test is no business of the package. */
function emit(root: string, directory: string): void {
  const config = {
    extends: join(root, "tsconfig.json"),
    compilerOptions: {
      noEmit: false,
      declaration: true,
      emitDeclarationOnly: true,
      rootDir: root,
      outDir: join(directory, "out"),
    },
    include: [join(root, "src")],
  };
  writeFileSync(join(directory, "tsconfig.json"), JSON.stringify(config));
  const { success, stdout } = Bun.spawnSync({
    cmd: [join(root, "node_modules/.bin/tsc"), "--project", directory],
    cwd: root,
    stdout: "pipe",
    stderr: "inherit",
  });
  if (!success) throw new Error(`no declarations:\n${stdout.toString()}`);
}
