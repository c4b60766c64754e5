import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import manifest from "../package.json" with { type: "json" };
import type { Build } from "../src/build.ts";
import { SIGNATURE, SUMS, archiveName, executableName, isVersion } from "../src/cli/release-file.ts";
import type { Bundled } from "./bundled.ts";
import { licensesOf } from "./bundled.ts";
import { compile } from "./compile.ts";
import { faultsOf, inspect } from "./inspect.ts";
import { bundlePackage } from "./pack-bundle.ts";
import { packConsole } from "./pack-console.ts";
import type { Entry } from "./release-archives.ts";
import { deb, tarGz, zip } from "./release-archives.ts";
import { formulaOf } from "./release-formula.ts";
import { installerOf } from "./release-installer.ts";
import { releaseKeys, signatureOf } from "./release-keys.ts";
import { readLock } from "./release-lock.ts";
import { changesOf, notesOf } from "./release-notes.ts";
import { runtimeFor } from "./release-runtime.ts";
import { sbomOf } from "./release-sbom.ts";
import type { Target } from "./release-targets.ts";
import { TARGETS } from "./release-targets.ts";
import { signMacho } from "./sign-macho.ts";

/**
 * Builds what a release is published with: `bun scripts/release.ts --key FILE [--target linux-x64]... [--outdir DIR]`. Every file of
 * it is the same, byte for byte, for the same commit, key and options. docs/releases.md tells the rest.
 */
const ROOT = resolve(import.meta.dir, "..");
const OPTIONS = {
  outdir: { type: "string", default: "dist/release" },
  target: { type: "string", multiple: true, default: [] as string[] },
  key: { type: "string" },
  "public-key": { type: "string" },
  unsigned: { type: "boolean", default: false },
  "no-deb": { type: "boolean", default: false },
  "base-url": { type: "string", default: process.env["AGENTBUS_RELEASE_URL"] ?? "" },
  version: { type: "string", default: manifest.version },
  commit: { type: "string" },
} as const;

interface Plan {
  readonly build: Omit<Build, "target">;
  /** Of everything in an archive, in seconds since 1970: that of the commit. */
  readonly time: number;
  readonly outdir: string;
}

interface Built {
  readonly target: Target;
  readonly executable: string;
}

function git(...argv: string[]): string | null {
  const { success, stdout } = Bun.spawnSync(["git", ...argv], {
    cwd: ROOT,
    stdout: "pipe",
    stderr: "ignore",
  });
  return success ? stdout.toString().trim() : null;
}

/** What is built is the commit only where nothing was changed since. */
function commitOf(said: string | undefined): string {
  if (said !== undefined) return said;
  const commit = git("rev-parse", "HEAD");
  if (commit === null)
    throw new Error("this is no clone of git: say of which commit the sources are with --commit");
  return git("status", "--porcelain") === "" ? commit : `${commit}-changed`;
}

function timeOf(): number {
  const seconds = Number(process.env["SOURCE_DATE_EPOCH"] ?? git("log", "-1", "--format=%ct") ?? Number.NaN);
  if (!Number.isSafeInteger(seconds)) throw new Error("say of when the sources are with SOURCE_DATE_EPOCH");
  return seconds;
}

function targetsOf(names: readonly string[]): Target[] {
  const unknown = names.find((name) => !TARGETS.some((target) => target.name === name));
  if (unknown !== undefined)
    throw new Error(`there is no target ${unknown}: ${TARGETS.map(({ name }) => name).join(", ")}`);
  return TARGETS.filter(({ name }) => names.length === 0 || names.includes(name));
}

/** Compiles one executable and reads it; what is wrong with it ends the release. */
async function buildTarget(target: Target, plan: Plan, pages: string, work: string): Promise<Built> {
  const started = performance.now();
  const directory = join(work, target.name);
  mkdirSync(directory);
  const runtime = await runtimeFor(target, directory);
  // Its name is inside the executable, too.
  const executable = join(directory, executableName(target.name));
  const build = { ...plan.build, target: target.name };
  await compile({ outfile: executable, pages, target: target.bun, runtime, build });
  rmSync(join(directory, "package"), { recursive: true });
  let bytes: Buffer = readFileSync(executable);
  const found = inspect(bytes);
  if (found.format === "macho" && found.signature !== "whole") {
    bytes = signMacho(bytes);
    writeFileSync(executable, bytes);
  }
  const faults = faultsOf(bytes, target);
  if (faults.length > 0) throw new Error(`${target.name}: the executable ${faults.join(" and ")}`);
  const seconds = ((performance.now() - started) / 1_000).toFixed(1);
  console.log(`${target.name}: ${(bytes.length / 1_000_000).toFixed(1)} MB in ${seconds} s`);
  return { target, executable };
}

/** One after the other, each while the one before is packed. */
async function* buildAll(
  targets: readonly Target[],
  plan: Plan,
  pages: string,
  work: string,
): AsyncGenerator<Built> {
  const start = (index: number): Promise<Built> | null => {
    const target = targets[index];
    if (target === undefined) return null;
    const built = buildTarget(target, plan, pages, work);
    // Told when its turn comes.
    built.catch(() => undefined);
    return built;
  };
  let next = start(0);
  for (let index = 1; next !== null; index++) {
    const built = await next;
    next = start(index);
    yield built;
  }
}

/** Bundles once more, into nowhere, for what is in it. */
async function bundledIn(work: string): Promise<Bundled[]> {
  const parts = {
    gateway: ["main", "package/gateway", "plugin/api"],
    client: "package/client",
    external: [],
  };
  return bundlePackage(ROOT, join(work, "bundle"), parts);
}

function writeArchive({ target, executable }: Built, plan: Plan, licenses: string): string {
  const { version } = plan.build;
  const name = archiveName(version, target.name);
  const place = name.replace(/\.(?:zip|tar\.gz)$/, "");
  const texts = ["LICENSE", "README.md", "CHANGELOG.md"].map((file) => ({
    path: `${place}/${file}`,
    bytes: readFileSync(join(ROOT, file)),
  }));
  const entries: Entry[] = [
    { path: `${place}/${executableName(target.name)}`, bytes: readFileSync(executable), executable: true },
    ...texts,
    { path: `${place}/THIRD-PARTY-LICENSES`, bytes: Buffer.from(licenses) },
  ];
  const bytes = name.endsWith(".zip") ? zip(entries, plan.time) : tarGz(entries, plan.time);
  writeFileSync(join(plan.outdir, name), bytes);
  return name;
}

function writeDeb({ target, executable }: Built, plan: Plan, licenses: string): void {
  const { version } = plan.build;
  if (target.debian === undefined) return;
  const own = readFileSync(join(ROOT, "LICENSE"), "utf8");
  const license = `${own}\n${"-".repeat(80)}\n\n${licenses}`;
  const changelog = readFileSync(join(ROOT, "CHANGELOG.md"), "utf8");
  const architecture = target.debian;
  const bytes = deb({ version, architecture, executable, license, changelog }, plan.time);
  writeFileSync(join(plan.outdir, `agentbus_${version}_${architecture}.deb`), bytes);
}

function sha256(file: string): string {
  return createHash("sha256").update(readFileSync(file)).digest("hex");
}

async function release(
  values: ReturnType<typeof parseArgs<{ options: typeof OPTIONS }>>["values"],
): Promise<void> {
  const { version } = values;
  if (!isVersion(version)) throw new Error(`${version} is no version: write it like 1.2.3 or 1.2.3-rc.1`);
  const targets = targetsOf(values.target);
  const keys = releaseKeys({
    key: values.key,
    public_key: values["public-key"],
    unsigned: values.unsigned,
    env: process.env,
  });
  const base_url = values["base-url"].replace(/\/+$/, "");
  const build = { version, commit: commitOf(values.commit), keys: keys.trusted, base_url };
  const plan: Plan = { build, time: timeOf(), outdir: resolve(values.outdir) };
  const work = mkdtempSync(join(tmpdir(), "agentbus-release-"));
  try {
    const pages = await packConsole(join(work, "pages"));
    const bundled = await bundledIn(work);
    const licenses = licensesOf(bundled);
    rmSync(plan.outdir, { recursive: true, force: true });
    mkdirSync(plan.outdir, { recursive: true });
    const put = (name: string, content: string | Uint8Array): void =>
      writeFileSync(join(plan.outdir, name), content);
    const sums = new Map<string, { file: string; sha256: string }>();
    for await (const { target, executable } of buildAll(targets, plan, pages, work)) {
      const file = writeArchive({ target, executable }, plan, licenses);
      if (!values["no-deb"]) writeDeb({ target, executable }, plan, licenses);
      sums.set(target.name, { file, sha256: sha256(join(plan.outdir, file)) });
      rmSync(join(work, target.name), { recursive: true });
    }
    const { description } = manifest;
    const { commit } = build;
    const lock = readLock(ROOT);
    put(`agentbus-${version}.cdx.json`, sbomOf({ version, commit, description, bundled, lock, targets }));
    put("agentbus.rb", formulaOf({ version, description, base_url, sums }));
    put("install.sh", installerOf(readFileSync(join(ROOT, "scripts/install.sh"), "utf8"), build));
    const changes = changesOf(readFileSync(join(ROOT, "CHANGELOG.md"), "utf8"), version);
    put("NOTES.md", notesOf({ version, commit, targets, changes, signed: keys.trusted.length > 0 }));
    if (keys.trusted.length > 0) put("release.pub", `${keys.trusted.join("\n")}\n`);
    const files = readdirSync(plan.outdir).sort();
    put(SUMS, files.map((file) => `${sha256(join(plan.outdir, file))}  ${file}\n`).join(""));
    if (keys.secret !== null) {
      put(SIGNATURE, signatureOf(readFileSync(join(plan.outdir, SUMS)), keys.secret));
    }
    console.log(`agentbus ${version} (${commit}) is in ${plan.outdir}`);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

try {
  await release(parseArgs({ options: OPTIONS }).values);
} catch (error) {
  console.error(`release: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
}
