import { closest } from "./closest.ts";
import { ConfigError } from "./error.ts";
import type { Environment } from "./expand.ts";
import type { Layer } from "./layer.ts";
import { put, readSecret } from "./layer.ts";
import { FIXED_OPTIONS, PROVIDER_OPTIONS, SECTIONS, optionAt, optionOfFile } from "./options.ts";
import { readText } from "./value.ts";

const PREFIX = "AGENTBUS_";
const PROVIDERS = "AGENTBUS_LLM_PROVIDERS_";

/** The paths that have a variable of their own, the files of secrets among them. */
const PATHS = new Map(
  FIXED_OPTIONS.flatMap(({ path }) => withFile(path)).map((path) => [variableOf(path), path]),
);

/** The last names of a provider's options, longest first: those that end like another come before it. */
const PROVIDER_KEYS = PROVIDER_OPTIONS.flatMap(({ path }) => withFile(path))
  .map((path) => path.slice(path.lastIndexOf(".") + 1))
  .sort((a, b) => b.length - a.length);

function withFile(path: string): string[] {
  return optionOfFile(`${path}_file`) === undefined ? [path] : [path, `${path}_file`];
}

/** `server.port` → `AGENTBUS_SERVER_PORT`. */
export function variableOf(path: string): string {
  return PREFIX + path.toUpperCase().replaceAll(/[.-]/g, "_");
}

/**
 * What the environment says. An empty variable says nothing. `providers`: names that other sources know.
 * @throws ConfigError
 */
export function readEnvironment(
  env: Environment,
  base: string,
  providers: readonly string[],
): { layer: Layer; warnings: string[] } {
  const layer: Layer = new Map();
  const warnings: string[] = [];
  for (const [name, text] of Object.entries(env)) {
    if (text === undefined || text === "" || !isOurs(name)) continue;
    const path = PATHS.get(name) ?? providerPath(name, providers);
    const option = path === undefined ? undefined : optionAt(path);
    const held = path === undefined ? undefined : optionOfFile(path);
    if (option !== undefined) {
      put(layer, option.path, { value: readText(option, text, name), source: "env", where: name });
    } else if (held !== undefined) {
      put(layer, held.path, { value: readSecret(held, text, name, base, env), source: "env", where: name });
    } else {
      warnings.push(unknown(name, providers));
    }
  }
  return { layer, warnings };
}

function isOurs(name: string): boolean {
  return SECTIONS.some((section) => name.startsWith(`${PREFIX}${section.toUpperCase()}_`));
}

/** `AGENTBUS_LLM_PROVIDERS_MY_ONE_API_KEY`: the provider is a known one, or what stands before the option's name. */
function providerPath(name: string, providers: readonly string[]): string | undefined {
  if (!name.startsWith(PROVIDERS)) return undefined;
  const rest = name.slice(PROVIDERS.length);
  for (const key of PROVIDER_KEYS) {
    const suffix = `_${key.toUpperCase()}`;
    if (!rest.endsWith(suffix) || rest.length === suffix.length) continue;
    const said = rest.slice(0, -suffix.length);
    const known = providers.find((provider) => provider.toUpperCase().replaceAll("-", "_") === said);
    return `llm.providers.${known ?? said.toLowerCase()}.${key}`;
  }
  return undefined;
}

/** A slip is an error; what only looks like ours (orchestrators set such variables for a service's name) is a warning. */
function unknown(name: string, providers: readonly string[]): string {
  const section =
    SECTIONS.map((each) => `${PREFIX}${each.toUpperCase()}_`).find((each) => name.startsWith(each)) ?? "";
  const ofProviders = providers.flatMap((provider) =>
    PROVIDER_KEYS.map((key) => variableOf(`llm.providers.${provider}.${key}`)),
  );
  const keys = [...PATHS.keys(), ...ofProviders]
    .filter((each) => each.startsWith(section))
    .map((each) => each.slice(section.length));
  const near = closest(name.slice(section.length), keys);
  if (near !== null)
    throw new ConfigError(`${name}: there is no such option; did you mean ${section}${near}?`);
  return `${name} is no option and is not used`;
}
