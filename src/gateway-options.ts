import type { Config } from "./config.ts";
import type { ConfigurationSource } from "./core/configuration.ts";
import type { Clock, Logger, ModelRouter } from "./core/ports.ts";
import type { Store } from "./core/store.ts";

/** What a gateway is composed of, and by whom it is told of what happens to it. */
export interface GatewayOptions {
  readonly config: Config;
  /** Where it is read again. Default: it stays as it is. */
  readonly source?: ConfigurationSource | undefined;
  readonly log: Logger;
  readonly version: string;
  readonly overrides?: {
    readonly store?: Store;
    readonly router?: ModelRouter;
    readonly clock?: Clock;
    /** Whether an address is this machine's own: nobody on the tailnet has it. */
    readonly isLocal?: (address: string) => boolean;
  };
  /** The outcome of a write is unknown: nothing may go on. What is still open has to be stopped, or the process to end. */
  readonly onFatal: (error: unknown) => void;
  /** The last group is published, and the store is about to be closed. */
  readonly onDrained?: () => void;
  /** A gateway that runs on the data directory is asked to stop, and waited for. Default: it is an error. */
  readonly takeover?: boolean;
  /** The process is the gateway's alone: it is ended where a plug-in lets nothing else happen in it. Default: no. */
  readonly owns_process?: boolean;
  /** What the process starts anew in itself on SIGUSR2: the commands on this machine are told. */
  readonly executable?: string | undefined;
  /** Told what is done to open the database, which may take long; null: it is over. */
  readonly onOpening?: ((doing: string | null) => void) | undefined;
}
