import { assertLimits } from "../core/limits.ts";
import { ConfigError } from "./error.ts";
import { optionPaths, valueAt } from "./print.ts";
import { reloads } from "./reloads.ts";
import { checkRules } from "./rules.ts";
import type { Config } from "./schema.ts";

/** What becomes of a configuration when the next one is read. */
export interface NextConfig {
  /** The next one, but for what needs a restart. Frozen. */
  readonly config: Config;
  /** Options with another value, without it: it may be a secret. */
  readonly changed: readonly string[];
  /** Options whose next value waits for a restart. */
  readonly restart_needed: readonly string[];
}

/**
 * What of `next` counts at once for a gateway that runs with `running`. `most_runs`: so many at once have requests to models in this process.
 * @throws ConfigError where that does not fit together with what needs a restart
 */
export function nextConfig(running: Config, next: Config, most_runs = Number.POSITIVE_INFINITY): NextConfig {
  const paths = new Set([...optionPaths(running), ...optionPaths(next)]);
  const different = [...paths].filter((path) => !same(valueAt(running, path), valueAt(next, path)));
  const toggled = isTlsToggled(running, next);
  const runs = next.agent.max_concurrent_runs;
  const crowded = runs > Math.max(most_runs, running.agent.max_concurrent_runs);
  const stays = (path: string): boolean =>
    (toggled && path.startsWith("server.tls.")) || (crowded && path === "agent.max_concurrent_runs");
  const restart_needed = different.filter((path) => !reloads(path) || stays(path));
  const changed = different.filter((path) => !restart_needed.includes(path));
  const config = structuredClone(next);
  for (const path of restart_needed) put(config, path, valueAt(running, path));
  if (restart_needed.length > 0) check(config, restart_needed);
  return { config: freeze(config), changed, restart_needed };
}

/** A listener speaks TLS or it does not. */
function isTlsToggled({ server: { tls } }: Config, { server: next }: Config): boolean {
  return (tls.cert === "") !== (next.tls.cert === "") || tls.mode !== next.tls.mode;
}

/** @throws ConfigError */
function check(config: Config, restart_needed: readonly string[]): void {
  try {
    assertLimits(config.limits);
    checkRules(config, (path) => path);
  } catch (cause) {
    const why = (cause as Error).message;
    throw new ConfigError(`${why}; this needs a restart, which ${restart_needed.join(", ")} wait for`, {
      cause,
    });
  }
}

function put(config: Config, path: string, value: unknown): void {
  const keys = path.split(".");
  const last = keys.pop() ?? "";
  const table = keys.reduce<unknown>((at, key) => (at as Record<string, unknown>)[key], config);
  (table as Record<string, unknown>)[last] = structuredClone(value);
}

function same(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

function freeze<T>(value: T): T {
  if (typeof value === "object" && value !== null) Object.values(Object.freeze(value)).forEach(freeze);
  return value;
}
