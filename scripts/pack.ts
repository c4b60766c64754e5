import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, relative, resolve } from "node:path";
import { parseArgs } from "node:util";
import manifest from "../package.json" with { type: "json" };
import { licensesOf } from "./bundled.ts";
import { packConsole } from "./pack-console.ts";
import { bundlePackage } from "./pack-bundle.ts";
import { copyDeclarations } from "./pack-declarations.ts";

/**
 * Makes the package for programs that embed a gateway or talk to one: `bun scripts/pack.ts [--outdir DIR]` writes
 * `agentbus-VERSION.tgz` and prints its path on the last line. JavaScript with everything in it but TypeBox, whose types are
 * part of ours, and declarations.
 */
const root = resolve(import.meta.dir, "..");
const { values } = parseArgs({ options: { outdir: { type: "string", default: "dist" } } });
const outdir = resolve(root, values.outdir);

/** What a program imports, and the module below src/ that is it. */
const ENTRIES = {
  ".": "package/gateway",
  "./plugin": "plugin/api",
  "./client": "package/client",
} as const;
const TYPEBOX = "@sinclair/typebox";

function packageJson(): string {
  const { name, version, description, license, type, engines, dependencies } = manifest;
  const entries = Object.entries(ENTRIES).map(([path, module]) => [
    path,
    { types: `./types/${module}.d.ts`, default: `./lib/${module}.js` },
  ]);
  const made = {
    name,
    version,
    description,
    license,
    type,
    exports: { ...Object.fromEntries(entries), "./package.json": "./package.json" },
    bin: { agentbus: "./lib/main.js" },
    // The client runs on Node, too.
    engines: { ...engines, node: ">=20" },
    dependencies: { [TYPEBOX]: dependencies[TYPEBOX] },
  };
  return `${JSON.stringify(made, null, 2)}\n`;
}

async function pack(): Promise<string> {
  const staging = mkdtempSync(join(tmpdir(), "agentbus-pack-"));
  try {
    const bundled = await bundlePackage(root, join(staging, "lib"), {
      gateway: ["main", ENTRIES["."], ENTRIES["./plugin"]],
      client: ENTRIES["./client"],
      external: [TYPEBOX],
    });
    await packConsole(join(staging, "lib"));
    chmodSync(join(staging, "lib/main.js"), 0o755);
    copyDeclarations(root, join(staging, "types"), Object.values(ENTRIES), [TYPEBOX]);
    writeFileSync(join(staging, "package.json"), packageJson());
    writeFileSync(join(staging, "THIRD-PARTY-LICENSES"), licensesOf(bundled));
    for (const file of ["README.md", "CHANGELOG.md", "LICENSE"])
      copyFileSync(join(root, file), join(staging, file));
    mkdirSync(outdir, { recursive: true });
    const { success, stderr } = Bun.spawnSync({
      cmd: [process.execPath, "pm", "pack", "--quiet", "--destination", outdir],
      cwd: staging,
      stdout: "pipe",
      stderr: "pipe",
    });
    if (!success) throw new Error(`bun pm pack: ${stderr.toString()}`);
  } finally {
    rmSync(staging, { recursive: true, force: true });
  }
  return join(outdir, `${manifest.name}-${manifest.version}.tgz`);
}

const started = performance.now();
const made = await pack();
const [kilobytes, seconds] = [readFileSync(made).length / 1_000, (performance.now() - started) / 1_000];
console.log(`packed ${Math.round(kilobytes)} kB in ${seconds.toFixed(1)} s`);
console.log(relative(process.cwd(), made));
