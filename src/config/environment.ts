import { closest } from "./closest.ts";
import { ConfigError } from "./error.ts";
import type { Environment } from "./expand.ts";
import type { Layer } from "./layer.ts";
import { put, readSecret } from "./layer.ts";
import type { NamedTable } from "./options.ts";
import { FIXED_OPTIONS, NAMED_TABLES, SECTIONS, optionAt, optionOfFile, optionsIn } from "./options.ts";
import { readText } from "./value.ts";

const PREFIX = "AGENTBUS_";

/** The paths that have a variable of their own, the files of secrets among them. */
const PATHS = new Map(
  FIXED_OPTIONS.flatMap(({ path }) => withFile(path)).map((path) => [variableOf(path), path]),
);

/** Names that sources know, by the table they stand in. */
export type KnownNames = Readonly<Record<NamedTable, readonly string[]>>;

/** The last names of the options in a named table, longest first: those that end like another come before it. */
const KEYS = new Map(
  NAMED_TABLES.map((table) => [
    table,
    optionsIn(table)
      .flatMap(({ path }) => withFile(path))
      .map((path) => path.slice(path.lastIndexOf(".") + 1))
      .sort((a, b) => b.length - a.length),
  ]),
);

function withFile(path: string): string[] {
  return optionOfFile(`${path}_file`) === undefined ? [path] : [path, `${path}_file`];
}

/** `server.port` → `AGENTBUS_SERVER_PORT`. */
export function variableOf(path: string): string {
  return PREFIX + path.toUpperCase().replaceAll(/[.-]/g, "_");
}

/**
 * What the environment says. An empty variable says nothing. `names`: those that other sources know.
 * @throws ConfigError
 */
export function readEnvironment(
  env: Environment,
  base: string,
  names: KnownNames,
): { layer: Layer; warnings: string[] } {
  const layer: Layer = new Map();
  const warnings: string[] = [];
  for (const [name, text] of Object.entries(env)) {
    if (text === undefined || text === "" || !isOurs(name)) continue;
    const path = PATHS.get(name) ?? pathInNamed(name, names);
    const option = path === undefined ? undefined : optionAt(path);
    const held = path === undefined ? undefined : optionOfFile(path);
    if (option !== undefined) {
      put(layer, option.path, { value: readText(option, text, name), source: "env", where: name });
    } else if (held !== undefined) {
      put(layer, held.path, { ...readSecret(held, text, name, base, env), source: "env", where: name });
    } else {
      warnings.push(unknown(name, names));
    }
  }
  return { layer, warnings };
}

function isOurs(name: string): boolean {
  return SECTIONS.some((section) => name.startsWith(`${PREFIX}${section.toUpperCase()}_`));
}

/** `AGENTBUS_LLM_PROVIDERS_MY_ONE_API_KEY`: the name is a known one, or what stands before the option's. */
function pathInNamed(name: string, names: KnownNames): string | undefined {
  const table = NAMED_TABLES.find((each) => name.startsWith(`${variableOf(each)}_`));
  if (table === undefined) return undefined;
  const rest = name.slice(variableOf(table).length + 1);
  for (const key of KEYS.get(table) ?? []) {
    const suffix = `_${key.toUpperCase()}`;
    if (!rest.endsWith(suffix) || rest.length === suffix.length) continue;
    const said = rest.slice(0, -suffix.length);
    const known = names[table].find((each) => each.toUpperCase().replaceAll("-", "_") === said);
    return `${table}.${known ?? said.toLowerCase()}.${key}`;
  }
  return undefined;
}

/** A slip is an error; what only looks like ours (orchestrators set such variables for a service's name) is a warning. */
function unknown(name: string, names: KnownNames): string {
  const section =
    SECTIONS.map((each) => `${PREFIX}${each.toUpperCase()}_`).find((each) => name.startsWith(each)) ?? "";
  const ofNamed = NAMED_TABLES.flatMap((table) =>
    names[table].flatMap(
      (each) => KEYS.get(table)?.map((key) => variableOf(`${table}.${each}.${key}`)) ?? [],
    ),
  );
  const keys = [...PATHS.keys(), ...ofNamed]
    .filter((each) => each.startsWith(section))
    .map((each) => each.slice(section.length));
  const near = closest(name.slice(section.length), keys);
  if (near !== null)
    throw new ConfigError(`${name}: there is no such option; did you mean ${section}${near}?`);
  return `${name} is no option and is not used`;
}
