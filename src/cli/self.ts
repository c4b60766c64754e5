/** The words that start this very program again, arguments left out: the executable, or bun and the source file. */
export function selfCommand(): string[] {
  if (Bun.isStandaloneExecutable) return [process.execPath];
  return [process.execPath, ...process.execArgv, Bun.main];
}

const VARIABLE = "BUN_CONFIG_MAX_HTTP_REQUESTS";
/** Without the variable `fetch` makes 256 requests at once; more runs than this come too close. */
const ENOUGH_FOR_RUNS = 200;
/** Left for everything that is no run. */
const SPARE = 64;

/**
 * `fetch` reads its bound when the process starts, so a gateway that may run more at once replaces itself, with the
 * same pid, by one that was told. Returns where nothing has to change or the system cannot do it.
 */
export function raiseFetchLimit(max_concurrent_runs: number): void {
  if (max_concurrent_runs <= ENOUGH_FOR_RUNS || process.env[VARIABLE] !== undefined) return;
  if (process.execve === undefined || process.platform === "win32") return;
  startAnew(selfCommand(), { [VARIABLE]: String(max_concurrent_runs + SPARE) });
}

/** Puts the program, with the arguments of this one, in the place of this one: the same process, another program. */
export function startAnew(
  [program = process.execPath, ...rest]: readonly string[],
  variables: NodeJS.ProcessEnv = {},
): void {
  process.execve?.(program, [program, ...rest, ...process.argv.slice(2)], { ...process.env, ...variables });
}
