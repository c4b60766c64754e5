import type { GatewayError } from "../protocol/errors.ts";
import type { SampledLog } from "./sampled-log.ts";

/** Whose request it was, as far as it is known. */
export interface Asker {
  readonly user?: string | undefined;
  readonly remote?: string | undefined;
}

/** What is counted since start. Codes, options and reasons are closed sets, so the maps stay small. */
export class Stats {
  requests = 0;
  events = 0;
  slow_consumers = 0;
  throttled = 0;
  plugin_faults = 0;
  readonly errors: Record<string, number> = {};
  readonly limits: Record<string, number> = {};
  readonly #log: SampledLog;

  constructor(log: SampledLog) {
    this.#log = log;
  }

  /** A request was answered: with an error, or null. */
  request(error: GatewayError | null, asker: Asker): void {
    this.requests++;
    if (error !== null) this.error(error, asker);
  }
  /** Somebody was refused. */
  error(error: GatewayError, asker: Asker): void {
    this.errors[error.reason] = (this.errors[error.reason] ?? 0) + 1;
    if (error.limit !== undefined) this.limit(error.limit, asker);
  }
  /** A bound was reached by what is no request, or has no answer. */
  limit(option: string, { user, remote }: Asker): void {
    this.limits[option] = (this.limits[option] ?? 0) + 1;
    const who = { ...(user !== undefined && { user }), ...(remote !== undefined && { remote }) };
    this.#log.warn(option, { limit: option, ...who }, "a limit was reached");
  }
}
