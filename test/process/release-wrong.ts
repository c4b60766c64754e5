import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { SIGNATURE, SUMS, archiveName } from "../../src/cli/release-file.ts";
import type { Published, TestKey } from "../support/release.ts";
import { newKey, scriptArchive, signAnew } from "../support/release.ts";

/** What was done to a release, how, given the directory of its files, and what is said of it. */
type Wrong = readonly [what: string, spoil: (directory: string) => void, said: RegExp];

interface Spoiled {
  readonly version: string;
  readonly target: string;
  /** Where it is published, and what it is signed with, once that is there. */
  readonly site: () => Published;
  readonly key: () => TestKey;
}

/** Each makes something of a good release wrong. */
export function wrongReleases({ version, target, site, key }: Spoiled): readonly Wrong[] {
  return [
    [
      "an archive was changed",
      (directory) => writeFileSync(join(directory, archiveName(version, target)), "something else"),
      /is not what was published \(SHA-256 \w{64}, not \w{64}\).*Try once more/,
    ],
    [
      "somebody else signed it",
      (directory) => signAnew(directory, newKey()),
      /not signed by a key this executable trusts/,
    ],
    [
      "the sums were changed",
      (directory) => writeFileSync(join(directory, SUMS), `${readFileSync(join(directory, SUMS), "utf8")}\n`),
      /not signed by a key this executable trusts/,
    ],
    [
      "there is no signature",
      (directory) => rmSync(join(directory, SIGNATURE)),
      /SHA256SUMS\.sig is not there \(HTTP 404\)/,
    ],
    [
      "the archive is missing",
      (directory) => rmSync(join(directory, archiveName(version, target))),
      /is not there \(HTTP 404\)/,
    ],
    [
      "there is nothing for this machine",
      (directory) => {
        rmSync(join(directory, archiveName(version, target)));
        signAnew(directory, key());
      },
      /has nothing for linux-x64/,
    ],
    [
      "the archive is none",
      (directory) => {
        writeFileSync(join(directory, archiveName(version, target)), "not packed");
        signAnew(directory, key());
      },
      /cannot unpack|holds no/,
    ],
    [
      "the executable does not run",
      () => site().put(version, scriptArchive(version, target, "echo no such library >&2; exit 127"), key()),
      /does not run here \(no such library\)/,
    ],
    [
      "the executable is another version",
      () => site().put(version, scriptArchive(version, target, `echo '{"version":"6.0.0"}'`), key()),
      /holds version 6\.0\.0/,
    ],
  ];
}
