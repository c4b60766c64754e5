import type { GatewayProcess } from "./gateway.ts";
import type { ModelProcess } from "./model.ts";
import type { RawProcess } from "./raw.ts";

/** One line of the table. */
export interface Figure {
  readonly what: string;
  /** The measured value with its unit, and min–max where it is a median. */
  readonly figure: string;
  /** The same measured against the raw server in the same run. */
  readonly against?: string;
  readonly aim?: string;
  /** Whether the aim was reached; left out where there is none. */
  readonly held?: boolean;
  /** What was lost or broke: the run fails. */
  readonly broken?: string;
  /** Numbers behind the line, for `--json`. */
  readonly data?: Readonly<Record<string, unknown>>;
}

/** What a bench gets: how long it may take, and the processes it measures. All of them end with the bench. */
export interface Bench {
  readonly quick: boolean;
  /** How long what can go on for hours goes on; null: no longer than it takes. */
  readonly minutes: number | null;
  /** The words that start agentbus. */
  readonly command: readonly string[];
  /** `quick` or `full`, by the kind of run. */
  pick<T>(full: T, quick: T): T;
  /** Starts a gateway in a new directory, or in `data_dir`; `model`: the base URL it asks. */
  gateway(options?: {
    readonly model?: string;
    readonly data_dir?: string;
    readonly env?: Readonly<Record<string, string>>;
  }): Promise<GatewayProcess>;
  raw(): Promise<RawProcess>;
  model(): Promise<ModelProcess>;
  /** Runs a script of bench/support to its end; what it printed last, parsed. */
  script<T>(file: string, args: readonly string[], env?: Readonly<Record<string, string>>): Promise<T>;
  /** A directory that goes with the bench. */
  directory(): string;
  /** Says on stderr what is being done. */
  say(text: string): void;
}

export interface NamedBench {
  readonly name: string;
  readonly run: (bench: Bench) => Promise<Figure[]>;
}
