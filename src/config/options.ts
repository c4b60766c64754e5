import { closest } from "./closest.ts";
import { ConfigError } from "./error.ts";
import { ConfigSchema } from "./schema.ts";

type Texts = Readonly<Record<string, string>>;
type Amounts = Readonly<Record<string, number>>;
export type OptionValue =
  | string
  | number
  | boolean
  | readonly string[]
  | Texts
  | Readonly<Record<string, Texts | Amounts>>;

/** What the schema says of one option. */
export interface OptionSchema {
  readonly type?: "integer" | "number" | "boolean" | "string" | "array" | "object";
  readonly default: OptionValue;
  readonly description: string;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minLength?: number;
  readonly values?: readonly string[];
  readonly later?: readonly string[];
  readonly secret?: boolean;
  /** The path of a file or directory. */
  readonly place?: boolean;
  /** Of a table of tables: the keys that each of them has, all text. */
  readonly entries?: readonly string[];
  /** Of a table of tables of amounts: the keys that each of them has, and may have. */
  readonly amounts?: { readonly needs: readonly string[]; readonly may: readonly string[] };
  /** What a table says in place of the default. */
  readonly shown?: string;
}

export interface Option {
  /** `server.port`; below one of NAMED_TABLES with a name that somebody chose or, in OPTIONS, with NAME. */
  readonly path: string;
  readonly schema: OptionSchema;
}

/** Tables of tables that have all the same options and a name that somebody chose; what each is called. */
const NAMED = { "llm.providers": "provider", "mcp.servers": "tool server" } as const;
export type NamedTable = keyof typeof NAMED;
export const NAMED_TABLES = Object.keys(NAMED) as readonly NamedTable[];

/** Stands for such a name. */
const NAME = "NAME";
const CHOSEN_NAME = /^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/;

/** Every option in the order of the schema. */
export const OPTIONS: readonly Option[] = flatten(ConfigSchema, "");

/** The sections of the file. */
export const SECTIONS: readonly string[] = Object.keys(ConfigSchema.properties);

const BY_PATH = new Map(OPTIONS.map((option) => [option.path, option]));

/** The options of every table in a named one, whatever its name. */
export function optionsIn(table: NamedTable): readonly Option[] {
  return OPTIONS.filter(({ path }) => path.startsWith(`${table}.`));
}

/** All others. */
export const FIXED_OPTIONS: readonly Option[] = OPTIONS.filter(({ path }) => namedTable(path) === undefined);

/** The named table that `path` is below. */
export function namedTable(path: string): NamedTable | undefined {
  return NAMED_TABLES.find((table) => path.startsWith(`${table}.`));
}

interface Node {
  readonly properties?: Readonly<Record<string, unknown>>;
  readonly patternProperties?: Readonly<Record<string, unknown>>;
  readonly default?: unknown;
}

function flatten(schema: unknown, path: string): Option[] {
  const { properties, patternProperties } = schema as Node;
  const below = (key: string): string => (path === "" ? key : `${path}.${key}`);
  if (properties !== undefined) {
    return Object.entries(properties).flatMap(([key, each]) => flatten(each, below(key)));
  }
  const [entry] = Object.values(patternProperties ?? {});
  const { entries, amounts } = schema as OptionSchema;
  const whole = entries !== undefined || amounts !== undefined;
  if (!whole && (entry as Node | undefined)?.properties !== undefined) return flatten(entry, below(NAME));
  return [{ path, schema: schema as OptionSchema }];
}

/** The option at `path`, whatever name somebody chose in it. */
export function optionAt(path: string): Option | undefined {
  const table = namedTable(path);
  if (table === undefined) return BY_PATH.get(path);
  const [name = "", key, ...rest] = path.slice(table.length + 1).split(".");
  if (key === undefined || rest.length > 0 || !CHOSEN_NAME.test(name)) return undefined;
  const option = BY_PATH.get(`${table}.${NAME}.${key}`);
  return option === undefined ? undefined : { path: `${table}.${name}.${key}`, schema: option.schema };
}

/** The option whose value a file holds, where `path` names such a file (`auth.token_file`). */
export function optionOfFile(path: string): Option | undefined {
  const option = path.endsWith("_file") ? optionAt(path.slice(0, -"_file".length)) : undefined;
  return option?.schema.secret === true && option.schema.type === "string" ? option : undefined;
}

/** The tables that options stand in directly, in the order of the schema: sections, and tables in sections. */
export const TABLES: readonly string[] = [...new Set(FIXED_OPTIONS.map(({ path }) => tableOf(path)))];

function tableOf(path: string): string {
  return path.slice(0, path.lastIndexOf("."));
}

/** Whether `path` is a table of options: one of the above, one in a named table, or what such tables stand in. */
export function isTable(path: string): boolean {
  if (TABLES.includes(path)) return true;
  return NAMED_TABLES.some((table) => {
    if (path === table || table.startsWith(`${path}.`)) return true;
    return path.startsWith(`${table}.`) && /^[^.]+$/.test(path.slice(table.length + 1));
  });
}

/** @throws ConfigError for a name that could not be used as `name/model` or `name.tool`, or in a variable. */
export function checkName(table: NamedTable, name: string, where: string): void {
  if (CHOSEN_NAME.test(name)) return;
  throw new ConfigError(`${where}: "${name}" is no name for a ${NAMED[table]}: use letters, digits, _ and -`);
}

/** What to say of a key that is no option. */
export function suggestion(path: string): string {
  const at = path.lastIndexOf(".");
  const [table, key] = [path.slice(0, Math.max(at, 0)), path.slice(at + 1)];
  if (table === "") return suggestSection(key);
  const siblings = keysOf(table);
  const near = closest(key, siblings);
  if (near !== null) return `did you mean ${table}.${near}?`;
  const elsewhere = FIXED_OPTIONS.find((option) => option.path.endsWith(`.${key}`));
  if (elsewhere !== undefined) return `did you mean ${elsewhere.path}?`;
  return siblings.length > 0 ? `[${table}] has ${siblings.join(", ")}` : "remove it";
}

function suggestSection(key: string): string {
  const elsewhere = FIXED_OPTIONS.find((option) => option.path.endsWith(`.${key}`));
  if (elsewhere !== undefined) return `did you mean ${elsewhere.path}?`;
  const near = closest(key, SECTIONS);
  return near === null ? `the sections are ${SECTIONS.join(", ")}` : `did you mean [${near}]?`;
}

/** The keys that a table may have. */
function keysOf(table: string): string[] {
  const named = namedTable(table);
  const wildcard = named === undefined ? table : `${named}.${NAME}`;
  const keys = OPTIONS.filter(({ path }) => path.startsWith(`${wildcard}.`)).flatMap((option) => {
    const [key = "", ...below] = option.path.slice(wildcard.length + 1).split(".");
    if (below.length > 0) return namedTable(`${wildcard}.${key}.`) === undefined ? [key] : [];
    return optionOfFile(`${option.path}_file`) === undefined ? [key] : [key, `${key}_file`];
  });
  return [...new Set(keys)];
}
