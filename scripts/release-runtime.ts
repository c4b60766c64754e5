import { createHash } from "node:crypto";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { readLock } from "./release-lock.ts";
import type { Target } from "./release-targets.ts";

const ROOT = resolve(import.meta.dir, "..");
/** Packages stay here as they came, and are looked at again each time. */
const CACHE = join(ROOT, "node_modules/.cache/agentbus-runtimes");

/**
 * The Bun that goes into the executables of a target, below `directory`. It is the one bun.lock names by its checksum, wherever
 * it was fetched from: what the compiler would fetch by itself is compared with nothing.
 * @throws where it cannot be had, or is another
 */
export async function runtimeFor({ runtime }: Target, directory: string): Promise<string> {
  const locked = readLock(ROOT).get(`${runtime}@${Bun.version}`);
  if (locked === undefined)
    throw new Error(
      `bun.lock does not name ${runtime}@${Bun.version}: run this with the Bun of package.json, by npx -y bun@VERSION`,
    );
  const id = `${runtime}@${Bun.version}`;
  const file = join(CACHE, `${id.replaceAll(/[@/]/g, "-").slice(1)}.tgz`);
  if (!existsSync(file)) fetchPackage(id, file);
  const bytes = readFileSync(file);
  const integrity = `sha512-${createHash("sha512").update(bytes).digest("base64")}`;
  if (integrity !== locked.integrity) {
    rmSync(file);
    throw new Error(`${id} is not what bun.lock names (${integrity}): it was removed, try once more`);
  }
  await new Bun.Archive(bytes).extract(directory, { glob: "package/bin/bun*" });
  const program = ["bun", "bun.exe"]
    .map((name) => join(directory, "package/bin", name))
    .find((path) => existsSync(path));
  if (program === undefined) throw new Error(`${id} holds no bin/bun`);
  chmodSync(program, 0o755);
  return program;
}

function fetchPackage(id: string, file: string): void {
  mkdirSync(CACHE, { recursive: true });
  const directory = mkdtempSync(join(CACHE, "fetch-"));
  try {
    const { success, stdout, stderr } = Bun.spawnSync({
      cmd: ["npm", "pack", id, "--silent", "--pack-destination", directory],
      cwd: directory,
      stdout: "pipe",
      stderr: "pipe",
    });
    const name = basename(stdout.toString().trim().split("\n").at(-1) ?? "");
    if (!success || name === "") throw new Error(`npm pack ${id}: ${stderr.toString()}`);
    renameSync(join(directory, name), file);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
