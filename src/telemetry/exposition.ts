import type { Family, Labels, Spread } from "./family.ts";

export type Format = "prometheus" | "openmetrics";

export const CONTENT_TYPES: Readonly<Record<Format, string>> = {
  prometheus: "text/plain; version=0.0.4; charset=utf-8",
  openmetrics: "application/openmetrics-text; version=1.0.0; charset=utf-8",
};

/** The text a Prometheus server reads, in the format it asked for. */
export function expose(families: readonly Family[], format: Format): string {
  let text = "";
  for (const family of families) text += head(family, format) + body(family);
  return format === "openmetrics" ? `${text}# EOF\n` : text;
}

/** OpenMetrics names a counter without its suffix where it is described. */
function head({ kind, name, help }: Family, format: Format): string {
  const described = kind === "counter" && format === "prometheus" ? `${name}_total` : name;
  const said = help.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
  return `# HELP ${described} ${said}\n# TYPE ${described} ${kind}\n`;
}

function body(family: Family): string {
  if (family.kind === "histogram")
    return family.spreads.map((each) => spreadLines(family.name, each)).join("");
  const name = family.kind === "counter" ? `${family.name}_total` : family.name;
  let text = "";
  for (const { labels, value } of family.values) {
    if (value !== null) text += `${name}${labelText(labels)} ${number(value)}\n`;
  }
  return text;
}

function spreadLines(name: string, { labels, histogram }: Spread): string {
  const { bounds, counts, sum } = histogram;
  let text = "";
  let below = 0;
  for (let at = 0; at < counts.length; at++) {
    below += counts[at] ?? 0;
    const bound = bounds[at];
    const le = bound === undefined ? "+Inf" : canonical(bound);
    text += `${name}_bucket${labelText({ ...labels, le })} ${below}\n`;
  }
  return `${text}${name}_sum${labelText(labels)} ${number(sum)}\n${name}_count${labelText(labels)} ${below}\n`;
}

function labelText(labels: Labels): string {
  const all = Object.entries(labels).map(([name, value]) => `${name}="${escape(value)}"`);
  return all.length === 0 ? "" : `{${all.join(",")}}`;
}

function escape(value: string): string {
  return value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
}

/** A bound is a label, and "1" would be another series than "1.0". */
function canonical(bound: number): string {
  return Number.isInteger(bound) ? `${bound}.0` : String(bound);
}

function number(value: number): string {
  if (Number.isNaN(value)) return "NaN";
  if (Number.isFinite(value)) return String(value);
  return value > 0 ? "+Inf" : "-Inf";
}
