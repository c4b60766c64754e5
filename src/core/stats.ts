/** What is counted since start. Codes, options and reasons are closed sets, so the maps stay small. */
export class Stats {
  requests = 0;
  events = 0;
  slow_consumers = 0;
  throttled = 0;
  readonly errors: Record<string, number> = {};
  readonly limits: Record<string, number> = {};

  /** A request was answered: with an error code, or null. */
  request(code: string | null): void {
    this.requests++;
    if (code !== null) this.error(code);
  }
  error(code: string): void {
    this.errors[code] = (this.errors[code] ?? 0) + 1;
  }
  limit(option: string): void {
    this.limits[option] = (this.limits[option] ?? 0) + 1;
  }
}
