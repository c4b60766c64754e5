import type { Source } from "./layer.ts";
import type { Option, OptionSchema } from "./options.ts";
import { NAMED_TABLES, OPTIONS, SECTIONS, TABLES, namedTable } from "./options.ts";
import { reloads } from "./reloads.ts";
import type { Config } from "./schema.ts";

const MASK = "***";

/** The configuration as a file would have it, secrets masked, with where each value came from. */
export function showConfig(config: Config, sources: ReadonlyMap<string, Source>): string {
  return `${tablesOf(config)
    .map((table) => showTable(table, config, sources))
    .join("\n\n")}\n`;
}

/** Every value as it is printed, by the path of its option. */
export function printedValues(config: Config): Map<string, string> {
  const all = tablesOf(config).flatMap((table) =>
    valuesOf(table, config).map(({ key, value }) => [`${table}.${key}`, value] as const),
  );
  return new Map(all);
}

/** Every option that a configuration has, those of named tables by their names. */
export function optionPaths(config: Config): string[] {
  return tablesOf(config).flatMap((table) => keysOf(table).map((key) => `${table}.${key}`));
}

function tablesOf(config: Config): string[] {
  const named = NAMED_TABLES.flatMap((table) =>
    Object.keys(valueAt(config, table) as object).map((name) => `${table}.${name}`),
  );
  const own = (section: string): string[] => named.filter((table) => table.startsWith(`${section}.`));
  return SECTIONS.flatMap((section) => [
    ...TABLES.filter((table) => table === section || table.startsWith(`${section}.`)),
    ...own(section),
  ]);
}

function valuesOf(table: string, config: Config): { key: string; value: string }[] {
  const prefix = prefixOf(table);
  return optionsOf(prefix).map(({ path, schema }) => {
    const key = path.slice(prefix.length + 1);
    return { key, value: literal(masked(schema, valueAt(config, `${table}.${key}`))) };
  });
}

function keysOf(table: string): string[] {
  const prefix = prefixOf(table);
  return optionsOf(prefix).map(({ path }) => path.slice(prefix.length + 1));
}

function prefixOf(table: string): string {
  const named = namedTable(table);
  return named === undefined ? table : `${named}.NAME`;
}

function showTable(table: string, config: Config, sources: ReadonlyMap<string, Source>): string {
  const lines = valuesOf(table, config).map(
    ({ key, value }) => [`${key} = ${value}`, sources.get(`${table}.${key}`) ?? "default"] as const,
  );
  const width = Math.min(60, Math.max(...lines.map(([line]) => line.length)));
  return [`[${table}]`, ...lines.map(([line, source]) => `${line.padEnd(width)}  # ${source}`)].join("\n");
}

/** The options that stand directly in a table. */
function optionsOf(table: string): Option[] {
  return OPTIONS.filter(
    ({ path }) => path.startsWith(`${table}.`) && !path.slice(table.length + 1).includes("."),
  );
}

/** The value of an option; undefined: the configuration does not have it. */
export function valueAt(config: Config, path: string): unknown {
  return path
    .split(".")
    .reduce<unknown>((value, key) => (value as Record<string, unknown> | undefined)?.[key], config);
}

function masked({ secret }: OptionSchema, value: unknown): unknown {
  if (typeof value === "string") {
    if (secret === true) return value === "" ? "" : MASK;
    return shownAddress(value);
  }
  if (secret !== true) return value;
  if (Array.isArray(value)) return value.map(() => MASK);
  return Object.fromEntries(Object.keys(value as object).map((name) => [name, MASK]));
}

/** An address as it is shown: it may have a password in it, and keys among its parameters. Other text stays as it is. */
export function shownAddress(text: string): string {
  if (!/^[a-z][a-z\d+.-]*:\/\//i.test(text)) return text;
  return text.replace(/:\/\/[^/@\s]*@/, `://${MASK}@`).replaceAll(/([?&][^=&#]*=)[^&#]+/g, `$1${MASK}`);
}

/** As TOML writes it. */
function literal(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(literal).join(", ")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const entries = Object.entries(value).map(([name, each]) => `${JSON.stringify(name)} = ${literal(each)}`);
  return entries.length === 0 ? "{}" : `{ ${entries.join(", ")} }`;
}

/** Every option as a Markdown table. */
export function configTable(): string {
  const rows = OPTIONS.map(
    ({ path, schema }) =>
      `| \`${path}\` | ${standard(schema)} | ${reloads(path) ? "yes" : ""} | ${meaning(schema)} |`,
  );
  return ["| option | default | reloads | meaning |", "| --- | --- | --- | --- |", ...rows].join("\n");
}

function standard(schema: OptionSchema): string {
  if (schema.shown === undefined) return `\`${literal(schema.default)}\``;
  return schema.shown.includes(" ") ? schema.shown : `\`${schema.shown}\``;
}

function meaning({ description, values }: OptionSchema): string {
  const all =
    values === undefined ? "" : ` One of ${values.map((value) => `\`${value || '""'}\``).join(", ")}.`;
  return `${description}${all}`.replaceAll("|", "\\|");
}
