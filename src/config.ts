import { existsSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { defaultDataDir, resolvePath } from "./config/data-dir.ts";
import { readEnvironment } from "./config/environment.ts";
import { ConfigError } from "./config/error.ts";
import type { Environment } from "./config/expand.ts";
import { readConfigFile, readConfigObject } from "./config/file.ts";
import type { Layer, Setting, Source } from "./config/layer.ts";
import type { NamedTable, OptionValue } from "./config/options.ts";
import { FIXED_OPTIONS, optionAt, optionsIn, suggestion } from "./config/options.ts";
import { checkRules, limitsOf } from "./config/rules.ts";
import type { Config } from "./config/schema.ts";
import { readText, readValue } from "./config/value.ts";

export type { Config };

export interface LoadOptions {
  /** A file that must be there; without it AGENTBUS_CONFIG, else agentbus.toml in `cwd` where there is one. */
  readonly file?: string | undefined;
  readonly env: Environment;
  /** By the path of the option ("server.port"); text is read like a variable, also where the option is a number. */
  readonly flags?: Readonly<Record<string, string | number | boolean | undefined>>;
  readonly cwd: string;
  readonly platform?: NodeJS.Platform;
}

export interface LoadedConfig {
  /** Frozen. */
  readonly config: Config;
  /** Where each value came from, by the path of its option. */
  readonly sources: ReadonlyMap<string, Source>;
  /** One line each, for the log. */
  readonly warnings: readonly string[];
  /** The file that was read; null: none. */
  readonly file: string | null;
  /** Every file that has a part in it; where no file was named, the one that would be read if it were there. */
  readonly files: readonly string[];
}

const FILE = "agentbus.toml";
const OPENAI = "openai";

/**
 * The configuration: defaults < file < environment < flags. Reads files, changes nothing.
 * @throws ConfigError, one line that says what is wrong where and what to do
 */
export function loadConfig(options: LoadOptions): LoadedConfig {
  const { env, cwd } = options;
  const file = findFile(options);
  const fromFile: Layer = file === null ? new Map() : readConfigFile(file, env);
  const { layer, warnings } = readEnvironment(env, cwd, {
    "llm.providers": [...namesIn("llm.providers", fromFile), OPENAI],
    "mcp.servers": namesIn("mcp.servers", fromFile),
  });
  const settings = new Map([...fromFile, ...layer, ...readFlags(options.flags ?? {})]);
  const loaded = complete(settings, file === null ? cwd : dirname(file), options);
  const secrets = [...settings.values()].flatMap((setting) => setting.file ?? []);
  const files = [...new Set([file ?? join(cwd, FILE), ...secrets])];
  return { ...loaded, warnings: [...warnings, ...loaded.warnings], file, files };
}

/** What loadConfig and configOf made: it need not be checked again. */
const CHECKED = new WeakSet<object>();

/**
 * The configuration a program gives: defaults < `values`, which have the names of the file. Of the environment only what
 * defaults are made of counts: OPENAI_API_KEY and where the user's data is. What was loaded already is taken as it is.
 * @throws ConfigError
 */
export function configOf(
  values: object,
  options: Pick<LoadOptions, "env" | "cwd" | "platform">,
): Pick<LoadedConfig, "config" | "warnings"> {
  if (CHECKED.has(values)) return { config: values as Config, warnings: [] };
  return complete(readConfigObject(values, options.env, options.cwd), options.cwd, options);
}

/** Fills up what nobody said, and checks what one option alone cannot say. `base`: where places of the file begin. */
function complete(settings: Layer, base: string, options: LoadOptions): Omit<LoadedConfig, "file" | "files"> {
  for (const [path, setting] of defaults(settings, options)) settings.set(path, setting);
  shareToken(settings);
  resolvePlaces(settings, base, options);
  const where = (path: string): string => settings.get(path)?.where ?? path;
  const config = freeze(build(settings));
  CHECKED.add(config);
  return {
    config,
    sources: new Map([...settings].map(([path, { source }]) => [path, source])),
    warnings: checkRules(config, where),
  };
}

function findFile({ file, env, cwd }: LoadOptions): string | null {
  const named = file ?? (env["AGENTBUS_CONFIG"] || undefined);
  if (named !== undefined) return resolve(cwd, named);
  const usual = join(cwd, FILE);
  return existsSync(usual) ? usual : null;
}

function readFlags(flags: NonNullable<LoadOptions["flags"]>): Layer {
  const layer: Layer = new Map();
  for (const [path, given] of Object.entries(flags)) {
    if (given === undefined) continue;
    const where = `--${path.slice(path.lastIndexOf(".") + 1).replaceAll("_", "-")}`;
    const option = optionAt(path);
    if (option === undefined)
      throw new ConfigError(`${where}: there is no option ${path}; ${suggestion(path)}`);
    const value =
      typeof given === "string" ? readText(option, given, where) : readValue(option, given, where);
    layer.set(path, { value, source: "flag", where });
  }
  return layer;
}

/** The names that somebody chose in a table. */
function namesIn(table: NamedTable, layer: Layer): string[] {
  const below = [...layer.keys()].filter((path) => path.startsWith(`${table}.`));
  return [...new Set(below.map((path) => path.slice(table.length + 1).split(".", 1)[0] ?? ""))];
}

/** What nobody said. A provider that somebody named comes before the one that is always there. */
function defaults(settings: Layer, { env }: LoadOptions): Layer {
  const layer: Layer = new Map();
  const add = (path: string, value: OptionValue, source: Source = "default"): void => {
    if (!settings.has(path)) layer.set(path, { value, source, where: path });
  };
  for (const { path, schema } of FIXED_OPTIONS) add(path, schema.default);
  for (const name of namesIn("mcp.servers", settings)) {
    for (const { path, schema } of optionsIn("mcp.servers")) {
      add(`mcp.servers.${name}.${path.slice(path.lastIndexOf(".") + 1)}`, schema.default);
    }
  }
  const named = namesIn("llm.providers", settings);
  const names = named.some((name) => name.toLowerCase() === OPENAI) ? named : [...named, OPENAI];
  for (const name of names) {
    const prefix = `llm.providers.${name}`;
    if (name.toLowerCase() === OPENAI) {
      const key = settings.has(`${prefix}.api_keys`) ? "" : (env["OPENAI_API_KEY"] ?? "").trim();
      add(`${prefix}.api_key`, key, key === "" ? "default" : "env");
      add(`${prefix}.base_url`, optionAt(`${prefix}.base_url`)?.schema.shown ?? "");
    }
    for (const { path, schema } of optionsIn("llm.providers")) {
      const own = `${prefix}.${path.slice(path.lastIndexOf(".") + 1)}`;
      if (!layer.has(own)) add(own, schema.default);
    }
  }
  return layer;
}

/** `gateway.auth_token` is another name for `auth.token`. */
function shareToken(settings: Layer): void {
  const [mine, shorthand] = [settings.get("auth.token"), settings.get("gateway.auth_token")];
  if (mine === undefined || shorthand === undefined || shorthand.value === "") return;
  if (mine.value !== "" && mine.value !== shorthand.value) {
    throw new ConfigError(
      `${shorthand.where}: it differs from ${mine.where}: both name the same token, keep one`,
    );
  }
  if (mine.value === "") settings.set("auth.token", shorthand);
}

/** Files and directories as absolute paths: what everybody finds, wherever they stand. */
function resolvePlaces(
  settings: Layer,
  base: string,
  { env, cwd, platform = process.platform }: LoadOptions,
): void {
  for (const { path, schema } of FIXED_OPTIONS) {
    if (schema.place !== true) continue;
    const setting = settings.get(path) as Setting;
    const from = setting.source === "file" ? base : cwd;
    const fallback = path === "server.data_dir" ? defaultDataDir(env, platform) : "";
    const place = (given: string): string => (given === "" ? fallback : resolvePath(given, from, env));
    const given = setting.value as string | readonly string[];
    settings.set(path, { ...setting, value: typeof given === "string" ? place(given) : given.map(place) });
  }
}

/** One object of all settings, with the limits filled up. */
function build(settings: Layer): Config {
  // No option stands in it where there is no server.
  const root: Record<string, unknown> = { mcp: { servers: {} } };
  for (const [path, { value }] of settings) {
    const keys = path.split(".");
    const last = keys.pop() ?? "";
    let table = root;
    for (const key of keys) {
      if (!Object.hasOwn(table, key)) table[key] = {};
      table = table[key] as Record<string, unknown>;
    }
    table[last] = value;
  }
  const config = root as unknown as Config;
  return { ...config, limits: limitsOf(config.limits, config.gateway.max_connections) };
}

function freeze<T>(value: T): T {
  if (typeof value === "object" && value !== null) Object.values(Object.freeze(value)).forEach(freeze);
  return value;
}
