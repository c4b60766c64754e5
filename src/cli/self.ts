import { FETCH_VARIABLE, fetchesFor, runsWithin } from "../config/fetch-bound.ts";

/** The words that start this very program again, arguments left out: the executable, or bun and the source file. */
export function selfCommand(): string[] {
  if (Bun.isStandaloneExecutable) return [process.execPath];
  return [process.execPath, ...process.execArgv, Bun.main];
}

/**
 * `fetch` reads its bound when the process starts, so a gateway that may run more at once replaces itself, with the
 * same pid, by one that was told. Returns where nothing has to change or the system cannot do it.
 */
export function raiseFetchLimit(max_concurrent_runs: number): void {
  if (process.env[FETCH_VARIABLE] !== undefined || max_concurrent_runs <= runsWithin({})) return;
  if (process.execve === undefined || process.platform === "win32") return;
  startAnew(selfCommand(), { [FETCH_VARIABLE]: String(fetchesFor(max_concurrent_runs)) });
}

/** Puts the program, with the arguments of this one, in the place of this one: the same process, another program. */
export function startAnew(
  [program = process.execPath, ...rest]: readonly string[],
  variables: NodeJS.ProcessEnv = {},
): void {
  process.execve?.(program, [program, ...rest, ...process.argv.slice(2)], { ...process.env, ...variables });
}
