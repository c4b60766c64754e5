import { readFileSync } from "node:fs";
import { resolvePath } from "./data-dir.ts";
import { ConfigError, NamedFileError } from "./error.ts";
import type { Environment } from "./expand.ts";
import type { Option, OptionValue } from "./options.ts";

export type Source = "default" | "file" | "env" | "flag";

/** A value that somebody gave. */
export interface Setting {
  readonly value: OptionValue;
  readonly source: Source;
  /** What an error about it begins with: "agentbus.toml: server.port", "AGENTBUS_SERVER_PORT". */
  readonly where: string;
  /** The file that holds it, where it is a secret in a file of its own. */
  readonly file?: string;
}

/** What one source says, by the path of the option. */
export type Layer = Map<string, Setting>;

/**
 * Adds a setting to its layer. An empty one gives way: `token = ""` beside `token_file` is no contradiction.
 * @throws ConfigError where the layer has the option already: as a value and as the file that holds it
 */
export function put(layer: Layer, path: string, setting: Setting): void {
  const before = layer.get(path);
  if (before === undefined || before.value === "") layer.set(path, setting);
  else if (setting.value !== "") {
    throw new ConfigError(`${setting.where}: ${before.where} says it already; keep one of them`);
  }
}

/**
 * The secret that a file holds, without white space around it.
 * @throws NamedFileError
 */
export function readSecret(
  option: Option,
  file: string,
  where: string,
  base: string,
  env: Environment,
): { readonly value: string; readonly file: string } {
  const path = resolvePath(file, base, env);
  let text: string;
  try {
    text = readFileSync(path, "utf8").trim();
  } catch (cause) {
    throw new NamedFileError(
      `${where}: cannot read ${path} (${reasonOf(cause)}): it must hold ${option.path}`,
      { cause },
    );
  }
  if (text === "") throw new NamedFileError(`${where}: ${path} is empty: it must hold ${option.path}`);
  return { value: text, file: path };
}

/** Why a file could not be read, in words. */
export function reasonOf(error: unknown): string {
  const { code = "", message } = error as NodeJS.ErrnoException;
  const words: Record<string, string> = {
    ENOENT: "there is no such file",
    EACCES: "permission denied",
    EPERM: "permission denied",
    EISDIR: "it is a directory",
    ENOTDIR: "part of the path is no directory",
  };
  return words[code] ?? message;
}
