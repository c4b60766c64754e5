/** What a reload changed, by the names of options. */
export interface Reloaded {
  /** These have another value now. */
  readonly changed: readonly string[];
  /** These have another value where they were read, which counts from the next start on. */
  readonly restart_needed: readonly string[];
}

/** Which configuration a gateway runs with. */
export interface ConfigurationState {
  /** The file it was read from; null: none. */
  readonly file: string | null;
  /** When what counts now was read, milliseconds since 1970. */
  readonly loaded_at: number;
  /** Changes with every value but secrets. */
  readonly hash: string;
  readonly restart_needed: readonly string[];
  /** Why it was not replaced, when that was tried last; null: nothing was wrong. */
  readonly failure: { readonly at: number; readonly reason: string } | null;
}

/** The configuration, as far as it can be read again. */
export interface Configuration {
  state(): ConfigurationState;
  /** Reads it again. @throws Error, one line that says what is wrong: what counted before still does */
  reload(): Reloaded;
}

/** A configuration as it was read. */
export interface FoundConfiguration {
  /** The options by the names of agentbus.toml. */
  readonly config: object;
  readonly warnings: readonly string[];
  /** The file it came from; null: none. */
  readonly file: string | null;
  /** What to look at for a change: every file that has a part in it. */
  readonly files: readonly string[];
}

/** Where a configuration is read again, at the latest two seconds after one of its files has changed. */
export interface ConfigurationSource {
  /** What the gateway begins with. */
  readonly first: FoundConfiguration;
  /** @throws Error, one line that says what is wrong; what counted before still does then */
  read(): FoundConfiguration;
  /** Before it is read again, and once that is over, however it went. */
  readonly onReload?: (state: "begins" | "over") => void;
}
