import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import manifest from "../../package.json" with { type: "json" };
import { installerOf } from "../../scripts/release-installer.ts";
import { SIGNATURE, SUMS, archiveName } from "../../src/cli/release-file.ts";
import { workplace } from "../support/executable.ts";
import { needs } from "../support/needs.ts";
import type { Published } from "../support/release.ts";
import { RELEASE_MS, newKey, ownRelease, publish, scriptArchive, signAnew } from "../support/release.ts";

/** The installer against a server of files: what it does with good ones, and with any other. */
const SCRIPT = readFileSync(join(import.meta.dir, "../../scripts/install.sh"), "utf8");
const key = newKey();
const place = workplace();
const script = place.file(
  "install.sh",
  installerOf(SCRIPT, { keys: [newKey().public, key.public], base_url: "" }),
);
/** What the installer calls. */
const TOOLS = "sh id uname getconf ldd awk cut tar gzip mkdir mktemp rm mv chmod grep curl sha256sum".split(
  " ",
);
const ready = process.platform === "linux" && needs("curl", "curl") && needs("openssl", "openssl");
const TARGET = process.arch === "arm64" ? "linux-arm64" : "linux-x64";
let site: Published;
let count = 0;

beforeAll(() => {
  site = publish();
  for (const version of ["0.3.0", "0.4.0"]) site.put(version, release(version), key);
});
afterAll(() => {
  site[Symbol.dispose]();
  place[Symbol.dispose]();
});

/** A release whose executables tell their version. */
function release(version: string, run = `echo agentbus ${version}`): Record<string, Uint8Array> {
  const targets = [
    "linux-x64",
    "linux-arm64",
    "linux-x64-musl",
    "linux-arm64-musl",
    "darwin-x64",
    "darwin-arm64",
  ];
  return Object.assign({}, ...targets.map((target) => scriptArchive(version, target, run))) as Record<
    string,
    Uint8Array
  >;
}

interface Install {
  readonly url?: string;
  readonly argv?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** What PATH finds besides, or before. */
  readonly path?: string;
  readonly file?: string;
  readonly prefix?: string;
}

interface Installed {
  readonly code: number;
  readonly said: string;
  readonly prefix: string;
  /** What is in PREFIX/bin, names that begin with a dot, too. */
  readonly there: string[];
}

async function install(how: Install = {}): Promise<Installed> {
  const { url = site.url, argv = [], env = {}, path = process.env["PATH"] ?? "", file = script } = how;
  const prefix = how.prefix ?? join(place.path, `prefix-${count++}`);
  const child = Bun.spawn(["sh", file, ...argv], {
    env: { PATH: path, HOME: place.path, AGENTBUS_BASE_URL: url, AGENTBUS_PREFIX: prefix, ...env },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const [out, err, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  const bin = join(prefix, "bin");
  return { code, said: out + err, prefix, there: existsSync(bin) ? readdirSync(bin) : [] };
}

function versionOf({ prefix }: Installed): string {
  return Bun.spawnSync([join(prefix, "bin/agentbus"), "version"])
    .stdout.toString()
    .trim();
}

/** A directory with only these programs, and what stands for others. */
function pathOf(tools: readonly string[], stubs: Readonly<Record<string, string>> = {}): string {
  const directory = join(place.path, `path-${count++}`);
  mkdirSync(directory);
  for (const tool of tools.filter((each) => !(each in stubs))) {
    const found = Bun.which(tool);
    if (found !== null) symlinkSync(found, join(directory, tool));
  }
  for (const [name, text] of Object.entries(stubs)) {
    writeFileSync(join(directory, name), `#!/bin/sh\n${text}\n`);
    chmodSync(join(directory, name), 0o755);
  }
  return directory;
}

describe.skipIf(!ready)("what is in order is installed", () => {
  test("the newest, into a place that is made, and what to do is said", async () => {
    const done = await install();
    expect(done).toMatchObject({ code: 0, there: ["agentbus"] });
    expect(versionOf(done)).toBe("agentbus 0.4.0");
    expect(done.said).toContain("signature: good");
    expect(done.said).toContain("SHA-256: good");
    expect(done.said).toContain(`export PATH="${done.prefix}/bin:$PATH"`);
    const path = `${done.prefix}/bin:${process.env["PATH"]}`;
    expect((await install({ prefix: done.prefix, path })).said).toContain("start it with: agentbus\n");
  });

  test("a version that is named, over one that is there", async () => {
    const first = await install();
    const argv = ["--version", "v0.3.0", "--prefix", first.prefix, "--base-url", `${site.url}/`];
    const done = await install({ argv, url: "", prefix: first.prefix });
    expect(done).toMatchObject({ code: 0, there: ["agentbus"] });
    expect(versionOf(done)).toBe("agentbus 0.3.0");
  });

  test.each([
    ["linux-arm64", { uname: "case $1 in -s) echo Linux ;; *) echo aarch64 ;; esac" }],
    [
      "linux-x64-musl",
      {
        uname: "case $1 in -s) echo Linux ;; *) echo x86_64 ;; esac",
        getconf: "exit 1",
        ldd: "echo musl libc >&2; exit 1",
      },
    ],
    [
      "linux-arm64-musl",
      {
        uname: "case $1 in -s) echo Linux ;; *) echo aarch64 ;; esac",
        getconf: "exit 1",
        ldd: "echo musl libc >&2; exit 1",
      },
    ],
    ["darwin-x64", { uname: "case $1 in -s) echo Darwin ;; *) echo x86_64 ;; esac", sysctl: "exit 1" }],
    ["darwin-arm64", { uname: "case $1 in -s) echo Darwin ;; *) echo x86_64 ;; esac", sysctl: "echo 1" }],
  ] as const)("what fits a machine that is %s", async (target, stubs) => {
    const done = await install({ path: pathOf([...TOOLS, "openssl"], stubs) });
    expect(done).toMatchObject({ code: 0, there: ["agentbus"] });
    expect(done.said).toContain(`fetching ${archiveName("0.4.0", target)}`);
  });

  test("with wget, and without openssl, which is said", async () => {
    if (!needs("wget", "wget")) return;
    const done = await install({ path: pathOf([...TOOLS.filter((tool) => tool !== "curl"), "wget"]) });
    expect(done).toMatchObject({ code: 0, there: ["agentbus"] });
    expect(done.said).toContain("no openssl 3 here: the signature is not checked, the SHA-256 is");
  });

  test(
    "the executable of a release, by the installer of that release",
    async () => {
      if (TARGET !== "linux-x64") return;
      const { version } = manifest;
      const built = await ownRelease();
      using real = publish();
      const files = [archiveName(version, TARGET), "install.sh"];
      real.put(version, Object.fromEntries(files.map((name) => [name, built.read(name)])), built.key);
      const done = await install({ url: real.url, file: join(built.directory, "install.sh") });
      expect(done).toMatchObject({ code: 0, there: ["agentbus"] });
      expect(versionOf(done)).toStartWith(`agentbus ${version} (`);
    },
    RELEASE_MS,
  );
});

/** Each makes something of a good release wrong, in the directory of its files. */
const WRONG: readonly (readonly [string, (directory: string) => void, RegExp])[] = [
  [
    "an archive was changed",
    (directory) => writeFileSync(join(directory, archiveName("0.5.0", TARGET)), "something else"),
    /0\.5\.0.* is not what was published \(SHA-256 \w{64}, not \w{64}\)/,
  ],
  [
    "the sums were changed with it",
    (directory) => {
      const good = readFileSync(join(directory, SIGNATURE));
      writeFileSync(join(directory, archiveName("0.5.0", TARGET)), "something else");
      signAnew(directory, newKey());
      writeFileSync(join(directory, SIGNATURE), good);
    },
    /signature of the release is not good/,
  ],
  [
    "somebody else signed it",
    (directory) => signAnew(directory, newKey()),
    /signature of the release is not good/,
  ],
  ["there is no signature", (directory) => rmSync(join(directory, SIGNATURE)), /has no signature/],
  ["there are no sums", (directory) => rmSync(join(directory, SUMS)), /there is no release at/],
  [
    "the archive is missing",
    (directory) => rmSync(join(directory, archiveName("0.5.0", TARGET))),
    /cannot be fetched/,
  ],
  [
    "there is nothing for this machine",
    (directory) => {
      rmSync(join(directory, archiveName("0.5.0", TARGET)));
      signAnew(directory, key);
    },
    new RegExp(`nothing for ${TARGET}`),
  ],
  [
    "it is another version than the one that was asked for",
    (directory) => {
      rmSync(directory, { recursive: true });
      symlinkSync(site.place("0.4.0"), directory);
    },
    /not version 0\.5\.0 but agentbus-0\.4\.0/,
  ],
  [
    "the executable does not run",
    (directory) => {
      for (const [name, bytes] of Object.entries(release("0.5.0", "echo no such library >&2; exit 127")))
        writeFileSync(join(directory, name), bytes);
      signAnew(directory, key);
    },
    /does not run here.*no such library/,
  ],
];

describe.skipIf(!ready)("what is not in order is refused, and nothing is changed", () => {
  test.each(WRONG)("%s", async (_what, spoil, said) => {
    site.put("0.5.0", release("0.5.0"), key);
    spoil(site.place("0.5.0"));
    const url = site.url;
    const empty = await install({ url, argv: ["--version", "0.5.0"] });
    expect([empty.code, empty.there]).toEqual([1, []]);
    expect(empty.said).toMatch(said);
    expect(empty.said).toContain("nothing was installed");
    // What is there already stays as it is.
    const { prefix } = await install({ url, argv: ["--version", "0.3.0"] });
    const again = await install({ url, prefix, argv: ["--version", "0.5.0"] });
    expect([again.code, again.there, versionOf(again)]).toEqual([1, ["agentbus"], "agentbus 0.3.0"]);
    rmSync(site.place("0.5.0"), { recursive: true });
  });

  test("without openssl an archive that was changed is refused by its SHA-256", async () => {
    site.put("0.5.0", release("0.5.0"), key);
    writeFileSync(join(site.place("0.5.0"), archiveName("0.5.0", TARGET)), "something else");
    const done = await install({ path: pathOf(TOOLS), argv: ["--version", "0.5.0"] });
    expect([done.code, done.there]).toEqual([1, []]);
    expect(done.said).toMatch(/is not what was published/);
    site.put("0.4.0", release("0.4.0"), key);
  });

  test("a machine nothing was built for, a wrong argument, no place of releases, no right to write", async () => {
    const risc = await install({
      path: pathOf([...TOOLS, "openssl"], { uname: "case $1 in -s) echo Linux ;; *) echo riscv64 ;; esac" }),
    });
    expect([risc.code, risc.said]).toEqual([1, expect.stringContaining("riscv64")]);
    const argument = await install({ argv: ["--prefx", "x"] });
    expect([argument.code, argument.said]).toEqual([1, expect.stringContaining("no argument --prefx")]);
    const nowhere = await install({ url: "" });
    expect([nowhere.code, nowhere.said]).toEqual([1, expect.stringContaining("--base-url")]);
    const injected = await install({ argv: ["--version", "1;touch x"] });
    expect([injected.code, injected.said]).toEqual([1, expect.stringContaining("is no version")]);
    const file = place.file("a-file", "");
    const denied = await install({ prefix: file });
    expect([denied.code, denied.said]).toEqual([1, expect.stringContaining("--prefix DIR")]);
  });

  test("an installer that came in part does nothing", async () => {
    const whole = readFileSync(script, "utf8");
    for (const share of [0.3, 0.6, 0.9, 0.99]) {
      const part = place.file(`part-${share}.sh`, whole.slice(0, Math.floor(whole.length * share)));
      expect((await install({ file: part })).there).toEqual([]);
    }
  });
});
