import { Validator } from "@cfworker/json-schema";
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import manifest from "../../package.json" with { type: "json" };
import { faultsOf, inspect } from "../../scripts/inspect.ts";
import { TARGETS } from "../../scripts/release-targets.ts";
import { SIGNATURE, SUMS, archiveName, isSigned, readSums } from "../../src/cli/release-file.ts";
import { exclusive } from "../support/exclusive.ts";
import { startGateway } from "../support/gateway-process.ts";
import { needs } from "../support/needs.ts";
import type { BuiltRelease } from "../support/release.ts";
import { BUILT, RELEASE_MS, builtRelease, newKey, ownRelease } from "../support/release.ts";

const ROOT = resolve(import.meta.dir, "../..");
const { version } = manifest;
const place = mkdtempSync(join(tmpdir(), "agentbus-release-"));
let release: BuiltRelease;

beforeAll(async () => {
  release = await ownRelease();
  for (const target of BUILT) unpack(target);
}, RELEASE_MS);

afterAll(() => rmSync(place, { recursive: true, force: true }));

function run(cmd: string[], cwd = place): string {
  const { exitCode, stdout, stderr } = Bun.spawnSync(cmd, { cwd, stdout: "pipe", stderr: "pipe" });
  expect([cmd, exitCode, stderr.toString()]).toEqual([cmd, 0, ""]);
  return stdout.toString();
}

/** With the programs people have, not with ours. */
function unpack(target: string): void {
  const file = join(release.directory, archiveName(version, target));
  if (!file.endsWith(".zip")) run(["tar", "-xzf", file]);
  else run(["/usr/bin/python3", "-m", "zipfile", "-e", file, "."]);
}

function executable(target: string): string {
  const name = target.startsWith("windows") ? "agentbus.exe" : "agentbus";
  return join(place, `agentbus-${version}-${target}`, name);
}

describe("what is published", () => {
  test("has a sum of every file, signed with the key and no other", () => {
    const bytes = release.read(SUMS);
    const sums = readSums(bytes.toString());
    for (const target of BUILT) expect(sums.has(archiveName(version, target))).toBe(true);
    expect([...sums.keys()]).toContain("install.sh");
    for (const [name, sum] of sums)
      expect([name, createHash("sha256").update(release.read(name)).digest("hex")]).toEqual([name, sum]);
    expect(isSigned(bytes, release.read(SIGNATURE), [newKey().public, release.key.public])).toBe(true);
    expect(isSigned(bytes, release.read(SIGNATURE), [newKey().public])).toBe(false);
    expect(
      isSigned(Buffer.concat([bytes, Buffer.from("x")]), release.read(SIGNATURE), [release.key.public]),
    ).toBe(false);
  });

  test("can be checked with sha256sum and openssl", () => {
    if (!needs("openssl", "openssl")) return;
    run(["sha256sum", "--check", "--strict", "--quiet", SUMS], release.directory);
    const verify = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", "release.pub", "-rawin"];
    run([...verify, "-in", SUMS, "-sigfile", SIGNATURE], release.directory);
  });

  test("every archive has the licenses and the README beside the executable", () => {
    for (const target of BUILT) {
      const directory = join(place, `agentbus-${version}-${target}`);
      expect(readFileSync(join(directory, "LICENSE"), "utf8")).toContain("MIT License");
      expect(readFileSync(join(directory, "README.md"), "utf8")).toStartWith("# agentbus");
      expect(readFileSync(join(directory, "THIRD-PARTY-LICENSES"), "utf8")).toContain("elysia");
    }
  });

  test("the notes say of every executable how it was looked at, and what is not signed", () => {
    const notes = release.read("NOTES.md").toString();
    for (const { name, proof } of TARGETS.filter((target) => BUILT.includes(target.name)))
      expect(notes).toMatch(
        new RegExp(`\\| ${name} \\| .*${proof === "parsed" ? "never run" : "run|emulation"}`),
      );
    for (const word of ["notarized", "Authenticode", "libstdc\\+\\+", "### Added"])
      expect(notes).toMatch(new RegExp(word));
  });

  test("the bill of materials is CycloneDX, and names what is inside by the checksums of bun.lock", () => {
    const schemas = join(ROOT, "node_modules/@cyclonedx/cyclonedx-library/res/schema");
    // They name one another by their files.
    const schema = (name: string): object => ({
      ...(JSON.parse(readFileSync(join(schemas, name), "utf8")) as object),
      $id: `http://cyclonedx.org/schema/${name}`,
    });
    const validator = new Validator(schema("bom-1.6.SNAPSHOT.schema.json"), "7", false);
    for (const name of ["spdx", "jsf-0.82"]) validator.addSchema(schema(`${name}.SNAPSHOT.schema.json`));
    const bom = JSON.parse(release.read(`agentbus-${version}.cdx.json`).toString()) as {
      components: { name: string; version: string; hashes?: { content: string }[] }[];
    };
    expect(validator.validate(bom).errors).toEqual([]);
    // What is wrong is found.
    expect(validator.validate({ ...bom, specVersion: 1 }).valid).toBe(false);
    const lock = readFileSync(join(ROOT, "bun.lock"), "utf8");
    for (const { name, version: its, hashes } of bom.components) {
      expect(lock).toContain(`"${name}@${its}"`);
      expect(lock).toContain(Buffer.from(hashes?.[0]?.content ?? "", "hex").toString("base64"));
    }
    const names = bom.components.map(({ name }) => name);
    expect(names).toEqual(
      expect.arrayContaining(["elysia", "react", "@sinclair/typebox", "@oven/bun-linux-x64"]),
    );
    for (const name of ["typescript", "oxlint", "playwright-core"]) expect(names).not.toContain(name);
  });

  test("the formula for Homebrew has the sums, and is Ruby", () => {
    const formula = release.read("agentbus.rb").toString();
    const sums = readSums(release.read(SUMS).toString());
    for (const target of ["linux-x64", "linux-arm64", "darwin-x64"]) {
      const name = archiveName(version, target);
      expect(formula).toMatch(new RegExp(`download/v${version}/${name}"\\n +sha256 "${sums.get(name)}"`));
    }
    if (needs("ruby", "ruby")) run(["ruby", "-c", join(release.directory, "agentbus.rb")]);
  });
});

describe("an executable", () => {
  test.each(BUILT)("for %s is one, and needs what it may need", (target) => {
    const bytes = readFileSync(executable(target));
    const wanted = TARGETS.find(({ name }) => name === target);
    expect(wanted && faultsOf(bytes, wanted)).toEqual([]);
    const other = TARGETS.find(({ name, arch }) => name !== target && arch === wanted?.arch);
    expect(other && faultsOf(bytes, other)).not.toEqual([]);
    const kinds = {
      "linux-x64-musl": {
        interpreter: "/lib/ld-musl-x86_64.so.1",
        needed: ["libc.musl-x86_64.so.1", "libstdc++.so.6"],
      },
      "darwin-x64": { arch: "x64", macos: "13.0", signature: "whole" },
      "windows-x64": { arch: "x64", console: true, signed: false },
    };
    expect(inspect(bytes)).toMatchObject(kinds[target as keyof typeof kinds] ?? { glibc: "2.17" });
    // Nothing of the machine it was built on is in it.
    expect(bytes.includes(`${ROOT}/`)).toBe(false);
  });

  test("a signature of macOS that does not cover a byte is seen", () => {
    const bytes = readFileSync(executable("darwin-x64"));
    bytes[1_000_000] = (bytes[1_000_000] ?? 0) ^ 1;
    expect(inspect(bytes)).toMatchObject({ signature: "broken" });
  });

  test("knows its version, its commit and what it is for", async () => {
    const commit = run(["git", "rev-parse", "HEAD"], ROOT).trim();
    expect(run([executable("linux-x64"), "version"])).toMatch(
      new RegExp(`^agentbus ${version} \\(${commit.slice(0, 12)}(?:-changed)?, linux-x64\\)\\n$`),
    );
    const facts = JSON.parse(run([executable("linux-x64"), "version", "--json"])) as object;
    expect(facts).toMatchObject({ version, commit: expect.stringContaining(commit), target: "linux-x64" });
    await talk(executable("linux-x64"));
  });

  test(
    "for another processor answers when it is emulated",
    async () => {
      if (process.platform !== "linux" || process.arch !== "x64") return;
      if (!needs("qemu-aarch64", "qemu-user libc6-arm64-cross", ["--version"])) return;
      const program = join(place, "agentbus-arm64");
      const emulated = `#!/bin/sh\nexec qemu-aarch64 -L /usr/aarch64-linux-gnu ${executable("linux-arm64")} "$@"\n`;
      await Bun.write(program, emulated);
      run(["chmod", "+x", program]);
      const facts = JSON.parse(run([program, "version", "--json"])) as object;
      expect(facts).toMatchObject({ version, target: "linux-arm64", platform: "linux-arm64" });
      await talk(program);
    },
    RELEASE_MS,
  );
});

/** A gateway of this executable answers, from its own store and with its own pages. */
async function talk(binary: string): Promise<void> {
  await using gateway = await startGateway({ binary });
  const response = await fetch(`${gateway.url}/api/v1/chat`, {
    method: "POST",
    headers: { authorization: `Bearer ${gateway.token}`, "content-type": "application/json" },
    body: JSON.stringify({ message: "Hello", wait: true }),
  });
  expect([response.status, await response.text()]).toEqual([200, expect.stringContaining("Hello")]);
  expect(await (await fetch(gateway.url)).text()).toContain("/assets/");
}

test(
  "built again from another place it is the same, byte for byte",
  async () => {
    // Beside the first, so that what is installed can be linked.
    const root = join(ROOT, "dist/release-test/elsewhere/sources");
    rmSync(root, { recursive: true, force: true });
    mkdirSync(root, { recursive: true });
    const files = ["package.json", "bun.lock", "tsconfig.json", "LICENSE", "README.md", "CHANGELOG.md"];
    for (const name of [...files, "src", "scripts"])
      cpSync(join(ROOT, name), join(root, name), { recursive: true });
    await exclusive("node_modules", async () => run(["cp", "-al", join(ROOT, "node_modules"), root]));
    const again = await builtRelease("again", { version, targets: ["linux-x64"], root });
    const [one, other] = [release, again].map((each) => readSums(each.read(SUMS).toString()));
    const same = [archiveName(version, "linux-x64"), `agentbus_${version}_amd64.deb`, "install.sh"];
    for (const name of same) expect([name, other?.get(name)]).toEqual([name, one?.get(name)]);
  },
  RELEASE_MS,
);

describe("the package for Debian", () => {
  const debian = process.platform === "linux" && needs("dpkg-deb", "dpkg");
  const file = (): string => join(release.directory, `agentbus_${version}_amd64.deb`);

  test.skipIf(!debian)("is installed and removed by dpkg, and leaves nothing", () => {
    const root = join(place, "root");
    mkdirSync(join(root, "var/lib/dpkg/info"), { recursive: true });
    mkdirSync(join(root, "var/lib/dpkg/updates"), { recursive: true });
    run(["touch", join(root, "var/lib/dpkg/status")]);
    // Into a root of its own: what it depends on is not there.
    const dpkg = [
      "dpkg",
      "--force-not-root",
      "--force-script-chrootless",
      "--force-depends",
      `--root=${root}`,
    ];
    const installed = Bun.spawnSync([...dpkg, "--install", file()], { stdout: "pipe", stderr: "pipe" });
    expect([installed.exitCode, installed.stderr.toString()]).toEqual([0, expect.any(String)]);
    expect(run([join(root, "usr/bin/agentbus"), "version"])).toStartWith(`agentbus ${version} (`);
    expect(run([...dpkg, "--status", "agentbus"])).toContain("Status: install ok installed");
    expect(readFileSync(join(root, "usr/share/doc/agentbus/copyright"), "utf8")).toContain("elysia");
    run([...dpkg, "--purge", "agentbus"]);
    expect(Bun.spawnSync([...dpkg, "--status", "agentbus"], { stderr: "ignore" }).success).toBe(false);
    expect([...new Bun.Glob("{usr,etc,opt}/**").scanSync({ cwd: root })]).toEqual([]);
  });
});
