import type { TerminalStatus } from "../protocol/entities.ts";
import type { GatewayError } from "../protocol/errors.ts";
import { DURABLE } from "../protocol/events.ts";
import type { RowChange } from "./operation.ts";
import type { SampledLog } from "./sampled-log.ts";

/** Whose request it was, as far as it is known. */
export interface Asker {
  readonly user?: string | undefined;
  readonly remote?: string | undefined;
}

/** By what is done of them; one that fails is on, too, but counts once. given_up: off, and nobody wanted that. */
export type WebhookCounts = Readonly<Record<"on" | "failing" | "suspended" | "off" | "given_up", number>>;

interface Count {
  n: number;
}

/** What is counted since start. Codes, options and reasons are closed sets, so the maps stay small. */
export class Stats {
  events = 0;
  slow_consumers = 0;
  throttled = 0;
  plugin_faults = 0;
  /** Sessions that were deleted because nothing had happened in them for storage.retention_days, or for want of room. */
  readonly sessions_expired = { age: 0, room: 0 };
  /** Events that went before storage.event_grace_secs was over, because there was no room. */
  events_trimmed_early = 0;
  /** Requests to receivers of webhooks that were taken, and that were not; deliveries that were given up. */
  readonly deliveries = { taken: 0, failed: 0, given_up: 0 };
  /** What became of the moments of schedules. */
  readonly moments = { sent: 0, skipped: 0, missed: 0, failed: 0 };
  /** What came in by hooks, with the right secret or not. */
  readonly hook_calls = { taken: 0, refused: 0 };
  /** Deliveries that were given up and are kept; null: nobody knows. Set by who has them. */
  dead_letters: () => number | null = () => null;
  /** Sessions of which somebody is owed events. Set by who has them. */
  owed_sessions: () => number = () => 0;
  /** How many webhooks there are now. Set by who has them. */
  webhooks: () => WebhookCounts = () => ({ on: 0, failing: 0, suspended: 0, off: 0, given_up: 0 });
  /** When the certificate that is served ends; null: there is none. Set by who has it. */
  certificate_expires_at: () => number | null = () => null;
  readonly errors: Record<string, number> = {};
  readonly limits: Record<string, number> = {};
  /** By the transport they came on. */
  readonly requests: Record<"ws" | "rest" | "sse" | "local", number> = { ws: 0, rest: 0, sse: 0, local: 0 };
  /** By the role of who says them; those that are begun count. */
  readonly messages = { user: 0, assistant: 0, system: 0, tool: 0 };
  /** How runs ended. */
  readonly runs: Record<TerminalStatus, number> = { completed: 0, failed: 0, aborted: 0, interrupted: 0 };
  /** Why runs failed, by the code of the error. */
  readonly run_failures: Record<string, number> = {};
  /** What became of the calls models made; refused: not made at all. */
  readonly tools = { ok: 0, failed: 0, refused: 0 };
  /** By type; those with names that somebody chose under "app". */
  readonly #types = new Map<string, Count>(Object.keys(DURABLE).map((type) => [type, { n: 0 }]));
  readonly #others: Count = { n: 0 };
  readonly #log: SampledLog;

  constructor(log: SampledLog) {
    this.#log = log;
  }

  get requests_total(): number {
    const { ws, rest, sse, local } = this.requests;
    return ws + rest + sse + local;
  }

  /** Events that were committed, by type. */
  event_types(): [type: string, count: number][] {
    return [...this.#types, ["app", this.#others] as const].map(([type, { n }]) => [type, n]);
  }

  /** An event was committed. */
  event(type: string): void {
    this.events++;
    (this.#types.get(type) ?? this.#others).n++;
  }
  /** Rows were written. */
  rows(rows: readonly RowChange[]): void {
    for (const row of rows) if (row.kind === "message.put") this.messages[row.role]++;
  }
  /** A run ended. */
  run(status: TerminalStatus, code: string | undefined): void {
    this.runs[status]++;
    if (code !== undefined) this.run_failures[code] = (this.run_failures[code] ?? 0) + 1;
  }
  /** A request was answered: with an error, or null. */
  request(error: GatewayError | null, asker: Asker, transport: keyof Stats["requests"]): void {
    this.requests[transport]++;
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
