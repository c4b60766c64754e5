import { createHash, generateKeyPairSync } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import manifest from "../../package.json" with { type: "json" };
import type { Entry } from "../../scripts/release-archives.ts";
import { tarGz } from "../../scripts/release-archives.ts";
import { signatureOf } from "../../scripts/release-keys.ts";
import { SIGNATURE, SUMS, archiveName } from "../../src/cli/release-file.ts";
import { changedAt } from "./changed.ts";
import { exclusive } from "./exclusive.ts";

const ROOT = resolve(import.meta.dir, "../..");
const BINARY = resolve(ROOT, Bun.env["AGENTBUS_BINARY"] || "dist/agentbus");
/** What the tests of releases build is there once for all of them, as long as nothing it is built of was changed. */
const PLACE = join(ROOT, "dist/release-test");
/** Of one release. What takes longer is ended, so that nobody waits for it in vain. */
const BUILD_MS = 300_000;
/** Until another file has built one, and this one another. */
export const RELEASE_MS = 2 * BUILD_MS;

/** One of each kind that differs: these are built in the tests, all of them by hand before a release. */
export const BUILT = ["linux-x64", "linux-arm64", "linux-x64-musl", "darwin-x64", "windows-x64"];

export interface TestKey {
  /** PEM */
  readonly secret: string;
  readonly public: string;
}

export function newKey(): TestKey {
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  return {
    secret: privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
    public: publicKey.export({ type: "spki", format: "pem" }).toString(),
  };
}

interface Wanted {
  readonly version: string;
  readonly targets: readonly string[];
  readonly deb?: boolean;
  /** The sources; default: these. */
  readonly root?: string;
}

/** A release that was built, and the key it is signed with. */
export interface BuiltRelease {
  readonly directory: string;
  readonly key: TestKey;
  read(file: string): Buffer;
}

/** Runs the script of releases, unless it did for the same executable before. */
export function builtRelease(name: string, wanted: Wanted): Promise<BuiltRelease> {
  return exclusive("release", () => buildRelease(name, wanted));
}

async function buildRelease(
  name: string,
  { version, targets, deb = true, root = ROOT }: Wanted,
): Promise<BuiltRelease> {
  const changed = changedAt([BINARY, "{src,scripts}/**/*"]);
  const stamp = JSON.stringify({ changed, version, targets, deb });
  const directory = join(PLACE, name);
  const stamped = `${directory}.stamp`;
  const key = testKey();
  if (!existsSync(stamped) || readFileSync(stamped, "utf8") !== stamp) {
    const child = Bun.spawn(
      [
        process.execPath,
        "scripts/release.ts",
        `--outdir=${directory}`,
        `--version=${version}`,
        `--key=${join(PLACE, "key.pem")}`,
        ...(deb ? [] : ["--no-deb"]),
        ...targets.flatMap((target) => ["--target", target]),
      ],
      {
        cwd: root,
        stdout: "pipe",
        stderr: "pipe",
        env: { ...process.env, AGENTBUS_RELEASE_URL: "" },
        timeout: BUILD_MS,
      },
    );
    const [out, err, code] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
      child.exited,
    ]);
    if (code !== 0) throw new Error(`the release ended with ${code}\n${out}${err}`);
    writeFileSync(stamped, stamp);
  }
  return { directory, key, read: (file) => readFileSync(join(directory, file)) };
}

/** The release of this version. */
export function ownRelease(): Promise<BuiltRelease> {
  return builtRelease("one", { version: manifest.version, targets: BUILT });
}

/** The same for all of them, so that one can follow the other. */
function testKey(): TestKey {
  const file = join(PLACE, "key.pem");
  mkdirSync(PLACE, { recursive: true });
  if (!existsSync(file) || !existsSync(`${file}.pub`)) {
    const key = newKey();
    writeFileSync(file, key.secret, { mode: 0o600 });
    writeFileSync(`${file}.pub`, key.public);
  }
  return { secret: readFileSync(file, "utf8"), public: readFileSync(`${file}.pub`, "utf8") };
}

/** Where releases are published: a directory, and a server of its files. */
export interface Published extends Disposable {
  readonly url: string;
  readonly directory: string;
  /** The directory of a version's files. */
  place(version: string): string;
  /** Publishes files as a version, signed with the key, and makes it the newest. */
  put(version: string, files: Readonly<Record<string, Uint8Array>>, key: TestKey): void;
  /** Paths that were asked for. */
  readonly asked: readonly string[];
}

export function publish(): Published {
  const root = mkdtempSync(join(tmpdir(), "agentbus-published-"));
  const asked: string[] = [];
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch(request) {
      const { pathname } = new URL(request.url);
      asked.push(pathname);
      const file = join(root, pathname);
      return existsSync(file) ? new Response(Bun.file(file)) : new Response("not here", { status: 404 });
    },
  });
  const place = (version: string): string => join(root, "download", `v${version}`);
  return {
    url: `http://127.0.0.1:${server.port}`,
    directory: root,
    asked,
    place,
    put(version, files, key) {
      const directory = place(version);
      mkdirSync(directory, { recursive: true });
      for (const [name, bytes] of Object.entries(files)) writeFileSync(join(directory, name), bytes);
      signAnew(directory, key);
      const latest = join(root, "latest/download");
      mkdirSync(dirname(latest), { recursive: true });
      rmSync(latest, { force: true });
      symlinkSync(directory, latest);
    },
    [Symbol.dispose]() {
      void server.stop(true);
      rmSync(root, { recursive: true, force: true });
    },
  };
}

/** Writes the sums of what is there, and their signature. */
export function signAnew(directory: string, key: TestKey): void {
  const files = readdirSync(directory).filter((name) => !name.startsWith(SUMS));
  const sums = files.map((name) => {
    const sum = createHash("sha256")
      .update(readFileSync(join(directory, name)))
      .digest("hex");
    return `${sum}  ${name}\n`;
  });
  writeFileSync(join(directory, SUMS), sums.join(""));
  writeFileSync(join(directory, SIGNATURE), signatureOf(Buffer.from(sums.join("")), key.secret));
}

/** An archive whose executable is a shell script. */
export function scriptArchive(version: string, target: string, script: string): Record<string, Uint8Array> {
  const name = archiveName(version, target);
  const path = `${name.replace(/\.tar\.gz$/, "")}/agentbus`;
  const entries: Entry[] = [{ path, bytes: Buffer.from(`#!/bin/sh\n${script}\n`), executable: true }];
  return { [name]: tarGz(entries, 0) };
}
