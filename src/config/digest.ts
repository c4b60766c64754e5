import { OPTIONS } from "./options.ts";
import { printedValues } from "./print.ts";
import type { Config } from "./schema.ts";

/** What is a node's own: where it listens and keeps its things, and what it writes about itself. */
const OWN: ReadonlySet<string> = new Set(["server", "storage", "cluster", "log", "backup", "telemetry"]);
const DIGITS = 16;

/** For each section that nodes should have alike, what stands for its values: places and secrets are left out. */
export function sectionDigests(config: Config): Record<string, string> {
  const places = new Set(OPTIONS.flatMap(({ path, schema }) => (schema.place === true ? path : [])));
  const sections = new Map<string, string[]>();
  for (const [path, value] of printedValues(config)) {
    const section = path.slice(0, path.indexOf("."));
    if (OWN.has(section) || places.has(path)) continue;
    sections.set(section, [...(sections.get(section) ?? []), `${path} = ${value}`]);
  }
  const digest = (lines: readonly string[]): string =>
    new Bun.CryptoHasher("sha256").update(lines.join("\n")).digest("hex").slice(0, DIGITS);
  return Object.fromEntries([...sections].map(([section, lines]) => [section, digest(lines)]));
}
