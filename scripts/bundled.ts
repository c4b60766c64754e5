import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** A package of which something was bundled. */
export interface Bundled {
  readonly name: string;
  readonly version: string;
  /** SPDX. */
  readonly license: string;
  readonly license_text: string;
  readonly homepage: string | null;
  /** Names of the packages it asks for. */
  readonly dependencies: readonly string[];
}

interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly license: string;
  readonly homepage?: string;
  readonly dependencies?: Record<string, string>;
  readonly peerDependencies?: Record<string, string>;
}

/** The packages that files were read from, by the paths a bundler names as its inputs; in the order of their places. */
export function bundledPackages(root: string, inputs: readonly string[]): Bundled[] {
  if (inputs.length === 0) throw new Error("the bundler does not say what it read");
  const places = inputs.flatMap((path) => {
    const [, place] =
      /^.*?(node_modules\/.*(?:(?<=node_modules\/)@[^/]+\/[^/]+|(?<=node_modules\/)[^/@]+))\//.exec(path) ??
      [];
    return place === undefined ? [] : [place];
  });
  return [...new Set(places)].sort().map((place) => {
    const manifest = JSON.parse(readFileSync(join(root, place, "package.json"), "utf8")) as Manifest;
    const { name, version, license, homepage, dependencies, peerDependencies } = manifest;
    const file = readdirSync(join(root, place)).find((each) => /^licen[cs]e/i.test(each));
    return {
      name,
      version,
      license,
      license_text: file === undefined ? "" : readFileSync(join(root, place, file), "utf8").trim(),
      homepage: homepage ?? null,
      dependencies: Object.keys({ ...dependencies, ...peerDependencies }),
    };
  });
}

/** Their licenses, one after the other. */
export function licensesOf(packages: readonly Bundled[]): string {
  return packages
    .map(({ name, version, license, license_text }) => `${name} ${version}: ${license}\n\n${license_text}\n`)
    .join(`\n${"-".repeat(80)}\n\n`);
}
