import { createHash } from "node:crypto";
import type { Bundled } from "./bundled.ts";
import type { Locked } from "./release-lock.ts";
import type { Target } from "./release-targets.ts";

interface Inventory {
  readonly version: string;
  readonly commit: string;
  readonly description: string;
  readonly bundled: readonly Bundled[];
  readonly lock: ReadonlyMap<string, Locked>;
  /** Those that were built: each holds a Bun of its own. */
  readonly targets: readonly Target[];
}

type Json = Readonly<Record<string, unknown>>;

/**
 * What is inside the executables, as CycloneDX 1.6: the packages that files were bundled of, with the checksums of bun.lock, and the
 * Bun of every target. What was only installed, to build or test, is not in it.
 */
export function sbomOf({ version, commit, description, bundled, lock, targets }: Inventory): string {
  const main = {
    type: "application",
    "bom-ref": purl("agentbus", version),
    name: "agentbus",
    version,
    description,
    purl: purl("agentbus", version),
    licenses: [{ license: { id: "MIT" } }],
    properties: [{ name: "agentbus:commit", value: commit }],
  };
  const packages = [...new Map(bundled.map((each) => [purl(each.name, each.version), each])).values()];
  const runtimes = targets.map(({ runtime }) => `${runtime}@${Bun.version}`);
  const components = [
    ...packages.map((each) => packageComponent(each, lock)),
    ...runtimes.map((id) => runtimeComponent(id, lock)),
  ].sort((one, other) => (one["bom-ref"] < other["bom-ref"] ? -1 : 1));
  const dependencies = [
    { ref: main["bom-ref"], dependsOn: components.map((each) => each["bom-ref"]) },
    ...packages.map((each) => ({
      ref: purl(each.name, each.version),
      dependsOn: packages
        .filter(({ name }) => each.dependencies.includes(name))
        .map(({ name, version: its }) => purl(name, its))
        .sort(),
    })),
  ];
  const content = {
    metadata: {
      component: main,
      tools: { components: [{ type: "application", name: "scripts/release.ts", version }] },
    },
    components,
    dependencies,
  };
  const serialNumber = `urn:uuid:${uuidOf(JSON.stringify(content))}`;
  const bom = { bomFormat: "CycloneDX", specVersion: "1.6", serialNumber, version: 1, ...content };
  return `${JSON.stringify(bom, null, 2)}\n`;
}

function packageComponent(each: Bundled, lock: ReadonlyMap<string, Locked>): Json & { "bom-ref": string } {
  const { name, version, license, homepage } = each;
  const expression = /\s/.test(license);
  return {
    type: "library",
    "bom-ref": purl(name, version),
    name,
    version,
    ...hashesOf(lock.get(`${name}@${version}`)),
    licenses: [expression ? { expression: license } : { license: { id: license } }],
    purl: purl(name, version),
    ...(homepage !== null && { externalReferences: [{ type: "website", url: homepage }] }),
  };
}

function runtimeComponent(id: string, lock: ReadonlyMap<string, Locked>): Json & { "bom-ref": string } {
  const at = id.lastIndexOf("@");
  const [name, version] = [id.slice(0, at), id.slice(at + 1)];
  return {
    type: "framework",
    "bom-ref": purl(name, version),
    name,
    version,
    description: "Bun, with JavaScriptCore (LGPL-2.0) and other libraries linked into it",
    ...hashesOf(lock.get(id)),
    licenses: [{ license: { id: "MIT" } }, { license: { id: "LGPL-2.0-only" } }],
    purl: purl(name, version),
    externalReferences: [{ type: "license", url: "https://bun.com/docs/project/license" }],
  };
}

/** The checksum of the package as it was fetched. */
function hashesOf(locked: Locked | undefined): Json {
  if (locked === undefined) return {};
  const content = Buffer.from(locked.integrity.slice("sha512-".length), "base64").toString("hex");
  return { hashes: [{ alg: "SHA-512", content }] };
}

function purl(name: string, version: string): string {
  return `pkg:npm/${name.replace("@", "%40")}@${version}`;
}

/** A number of its own for each content, and the same for the same. */
function uuidOf(text: string): string {
  const bytes = createHash("sha256").update(text).digest().subarray(0, 16);
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x80;
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
  const hex = bytes.toString("hex");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}
