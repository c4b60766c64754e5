import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { gzipSync as gzip } from "node:zlib";
import { zipSync } from "fflate";

/** A file of an archive. Owner and time say nothing of who built it, and when: the same files are the same bytes. */
export interface Entry {
  readonly path: string;
  readonly bytes: Uint8Array;
  readonly executable?: boolean;
}

const BLOCK = 512;
const MODE = { plain: 0o644, executable: 0o755 };
const REGULAR_FILE = 0o100000;
/** The operating system of a zip entry whose attributes are those of Unix. */
const ZIP_UNIX = 3;

function modeOf({ executable }: Entry): number {
  return executable === true ? MODE.executable : MODE.plain;
}

/** A gzipped tar of the files; `seconds` since 1970 is the time of all. */
export function tarGz(entries: readonly Entry[], seconds: number): Uint8Array {
  const blocks = entries.flatMap((entry) => {
    const rest = entry.bytes.length % BLOCK;
    return [tarHeader(entry, seconds), entry.bytes, Buffer.alloc(rest === 0 ? 0 : BLOCK - rest)];
  });
  const tar = Buffer.concat([...blocks, Buffer.alloc(2 * BLOCK)]);
  return Bun.gzipSync(tar, { level: 6, library: "libdeflate" });
}

/** A header of POSIX ustar. @throws for a path it has no room for */
function tarHeader(entry: Entry, seconds: number): Buffer {
  const header = Buffer.alloc(BLOCK);
  const octal = (value: number, at: number, length: number): void =>
    void header.write(`${value.toString(8).padStart(length - 1, "0")}\0`, at, "latin1");
  if (Buffer.byteLength(entry.path) > 100) throw new Error(`${entry.path} is too long for tar`);
  header.write(entry.path, 0, "utf8");
  octal(modeOf(entry), 100, 8);
  octal(0, 108, 8);
  octal(0, 116, 8);
  octal(entry.bytes.length, 124, 12);
  octal(seconds, 136, 12);
  header.write(" ".repeat(8), 148, "latin1");
  header.write("0", 156, "latin1");
  header.write("ustar\u000000", 257, "latin1");
  header.write("root", 265, "latin1");
  header.write("root", 297, "latin1");
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
  return header;
}

export function zip(entries: readonly Entry[], seconds: number): Uint8Array {
  // Zip knows local time only: it is written as UTC on every machine.
  const utc = new Date(seconds * 1_000);
  const mtime = new Date(
    utc.getUTCFullYear(),
    utc.getUTCMonth(),
    utc.getUTCDate(),
    utc.getUTCHours(),
    utc.getUTCMinutes(),
    utc.getUTCSeconds(),
  );
  return zipSync(
    Object.fromEntries(
      entries.map((entry) => [
        entry.path,
        [entry.bytes, { level: 6, mtime, os: ZIP_UNIX, attrs: (REGULAR_FILE | modeOf(entry)) << 16 }],
      ]),
    ),
  );
}

/** Whether the service of this machine is started with the executable of the package; it may have another one. */
const IS_SERVICE = `is_service() {
  [ -z "$DPKG_ROOT" ] && [ -d /run/systemd/system ] || return 1
  systemctl show agentbus.service --property=ExecStart --value 2>/dev/null | grep -q "path=/usr/bin/agentbus ;"
}`;

/**
 * What dpkg runs. The unit is none of its files: `agentbus service install` writes it, and takes it away. Whatever becomes of the
 * service, the package is there, or gone.
 */
const SCRIPTS = {
  // What was replaced goes on in the process that runs it.
  postinst: `#!/bin/sh
set -e
${IS_SERVICE}
if [ "$1" = configure ] && [ -n "$2" ] && is_service; then
  systemctl try-restart agentbus.service || echo "agentbus: the service does not start: journalctl -u agentbus" >&2
fi
`,
  // Without its executable it would go on until it ends, and then never start again.
  prerm: `#!/bin/sh
set -e
${IS_SERVICE}
if [ "$1" = remove ] && is_service; then
  /usr/bin/agentbus service uninstall || echo "agentbus: the service is still there: systemctl disable --now agentbus" >&2
fi
`,
} as const;

interface Debian {
  readonly version: string;
  readonly architecture: string;
  readonly executable: string;
  readonly license: string;
  readonly changelog: string;
}

/** A package for dpkg, made by dpkg-deb; nobody has to be root for that. @throws where dpkg-deb refuses */
export function deb(parts: Debian, seconds: number): Uint8Array {
  const { version, architecture, executable, license, changelog } = parts;
  const directory = mkdtempSync(join(tmpdir(), "agentbus-deb-"));
  const root = join(directory, "root");
  const put = (path: string, bytes: Uint8Array | string): void => {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), bytes);
    chmodSync(join(root, path), MODE.plain);
  };
  try {
    mkdirSync(join(root, "usr/bin"), { recursive: true });
    copyFileSync(executable, join(root, "usr/bin/agentbus"));
    chmodSync(join(root, "usr/bin/agentbus"), MODE.executable);
    put("usr/share/doc/agentbus/copyright", license);
    put("usr/share/doc/agentbus/changelog.gz", gzip(changelog, { level: 9 }));
    put("DEBIAN/control", control(version, architecture));
    for (const [name, script] of Object.entries(SCRIPTS)) {
      put(`DEBIAN/${name}`, script);
      chmodSync(join(root, "DEBIAN", name), MODE.executable);
    }
    // Whatever the umask of who builds it is.
    for (const path of [...new Bun.Glob("**").scanSync({ cwd: root, onlyFiles: false, dot: true }), "."]) {
      if (statSync(join(root, path)).isDirectory()) chmodSync(join(root, path), MODE.executable);
      utimesSync(join(root, path), seconds, seconds);
    }
    const file = join(directory, "agentbus.deb");
    const { success, stderr } = Bun.spawnSync({
      cmd: ["dpkg-deb", "--root-owner-group", "-Zgzip", "-z6", "--build", root, file],
      env: { ...process.env, SOURCE_DATE_EPOCH: String(seconds), LC_ALL: "C" },
      stdout: "ignore",
      stderr: "pipe",
    });
    if (!success) throw new Error(`dpkg-deb: ${stderr.toString()}`);
    return readFileSync(file);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function control(version: string, architecture: string): string {
  return [
    "Package: agentbus",
    // Where Debian sorts a candidate before its release.
    `Version: ${version.replace("-", "~")}`,
    `Architecture: ${architecture}`,
    "Maintainer: The agentbus authors <agentbus@localhost>",
    "Section: net",
    "Priority: optional",
    "Depends: libc6 (>= 2.17)",
    "Description: one executable between clients and language models",
    " Clients talk to it over WebSocket, server-sent events or plain HTTP; it asks",
    " the model, streams the answer to everybody who follows the conversation, and",
    " keeps all of it.",
    "",
  ].join("\n");
}
