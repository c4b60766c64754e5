import { ConfigError } from "./error.ts";

export type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Puts variables in: `${VAR}`, or `${VAR:-default}` where it may be unset or empty. `$${` stays as `${`.
 * @throws ConfigError for a variable that is not set and has no default
 */
export function expand(text: string, env: Environment, where: string): string {
  return text.replaceAll(/\$?\$\{([^}]*)\}/g, (found, inner: string) => {
    if (found.startsWith("$$")) return found.slice(1);
    const [, name, fallback] = /^([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?$/s.exec(inner) ?? [];
    if (name === undefined) {
      throw new ConfigError(
        `${where}: ${found} is no variable: write \${NAME} or \${NAME:-default}, and $\${ for the characters themselves`,
      );
    }
    const value = env[name];
    if (value !== undefined && (value !== "" || fallback === undefined)) return value;
    if (fallback !== undefined) return fallback;
    throw new ConfigError(
      `${where}: the variable ${name} is not set: set it, or write \${${name}:-} where it may be missing`,
    );
  });
}
