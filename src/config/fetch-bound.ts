/** `fetch` reads from it, when the process starts, how many requests it makes at once; without it 256. */
export const FETCH_VARIABLE = "BUN_CONFIG_MAX_HTTP_REQUESTS";
/** Without the variable more runs than this come too close. */
const ENOUGH_FOR_RUNS = 200;
/** Left for everything that is no run. */
const SPARE = 64;

/** Requests at once that so many runs need. */
export function fetchesFor(runs: number): number {
  return runs + SPARE;
}

/** How many runs at once this process has requests for, by the environment that it was started with. */
export function runsWithin(env: Readonly<Record<string, string | undefined>>): number {
  const said = Number(env[FETCH_VARIABLE]);
  return said > 0 ? said - SPARE : ENOUGH_FOR_RUNS;
}
