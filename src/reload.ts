import { statSync } from "node:fs";
import type { Config } from "./config.ts";
import { configOf } from "./config.ts";
import { ConfigError } from "./config/error.ts";
import { runsWithin } from "./config/fetch-bound.ts";
import { nextConfig } from "./config/next.ts";
import { printedValues } from "./config/print.ts";
import type {
  Configuration,
  ConfigurationSource,
  ConfigurationState,
  FoundConfiguration,
  Reloaded,
} from "./core/configuration.ts";
import type { Live } from "./core/live.ts";
import type { Clock, Logger } from "./core/ports.ts";

/** How often the files are looked at: a look sees renames, links and network drives, which a watch does not. */
const LOOK_MS = 1_000;
const HASH_CHARS = 16;
const HERE = { env: process.env, cwd: process.cwd() };

export interface ReloadingOptions {
  readonly live: Live<Config>;
  /** Null: it was given, and stays as it is. */
  readonly source: ConfigurationSource | null;
  readonly clock: Clock;
  readonly log: Logger;
  /** Options have another value, with `config`. */
  readonly onChanged: (config: Config, changed: readonly string[]) => void;
}

/** Reads the configuration again, where its files change or somebody wants it, and has all of it count or nothing. */
export class Reloading implements Configuration {
  readonly #options: ReloadingOptions;
  #found: Omit<FoundConfiguration, "config">;
  #loaded_at: number;
  #restart_needed: readonly string[] = [];
  #failure: ConfigurationState["failure"] = null;
  /** What the files looked like when they were read last, and at the last look. */
  #seen: string;
  #last: string;
  #cancel: () => void = () => undefined;
  #closed = false;

  constructor(options: ReloadingOptions) {
    this.#options = options;
    this.#found = options.source?.first ?? { warnings: [], file: null, files: [] };
    this.#loaded_at = options.clock.now();
    this.#seen = this.#looks();
    this.#last = this.#seen;
  }

  /** Idempotent. */
  watch(): void {
    this.#cancel();
    if (this.#options.source !== null) this.#cancel = this.#options.clock.every(LOOK_MS, () => this.#look());
  }

  /** The gateway stops: what another one changes, such as a tool server, nobody would end any more. Idempotent. */
  close(): void {
    this.#cancel();
    this.#closed = true;
  }

  state(): ConfigurationState {
    return {
      file: this.#found.file,
      loaded_at: this.#loaded_at,
      hash: hashOf(this.#options.live.now),
      restart_needed: this.#restart_needed,
      failure: this.#failure,
    };
  }

  reload(): Reloaded {
    const { source } = this.#options;
    source?.onReload?.("begins");
    try {
      const reloaded = this.#take();
      this.#failure = null;
      return reloaded;
    } catch (error) {
      this.#fail(error);
      throw error;
    } finally {
      source?.onReload?.("over");
    }
  }

  /** A file is written bit by bit: it is read once it has stayed as it is from one look to the next. */
  #look(): void {
    const looks = this.#looks();
    const isStill = looks === this.#last;
    this.#last = looks;
    // What was wrong may be mended by a file that was not there to be looked at.
    if (!isStill || (looks === this.#seen && this.#failure === null)) return;
    try {
      this.reload();
    } catch {
      // It is logged, and told by state().
    }
  }

  /** @throws ConfigError: nothing has changed */
  #take(): Reloaded {
    const { live, source, clock, log, onChanged } = this.#options;
    if (this.#closed)
      throw new ConfigError("the gateway is about to stop: it is read again at the next start");
    if (source === null)
      throw new ConfigError("this gateway was given its configuration, there is none to read again");
    this.#seen = this.#looks();
    const found = source.read();
    if (this.#found.file !== null && found.file === null) {
      throw new ConfigError(`${this.#found.file} is gone: put it back, or restart to go on without it`);
    }
    const { config, changed, restart_needed } = nextConfig(
      live.now,
      configOf(found.config, HERE).config,
      runsWithin(HERE.env),
    );
    if (changed.length > 0) live.replace(config);
    this.#found = found;
    this.#seen = this.#looks();
    this.#loaded_at = clock.now();
    const waits = restart_needed.filter((path) => !this.#restart_needed.includes(path));
    this.#restart_needed = restart_needed;
    if (changed.length > 0) {
      for (const warning of found.warnings) log.warn({}, warning);
      log.info({ changed }, "the configuration has changed");
      onChanged(live.now, changed);
    } else log.debug({}, "the configuration was read again and is the same");
    if (waits.length > 0)
      log.warn({ options: waits }, "these options change at the next start only: restart it");
    return { changed, restart_needed };
  }

  /** What is wrong is said once, until something else is or nothing was. */
  #fail(error: unknown): void {
    const { clock, log } = this.#options;
    const reason = error instanceof Error ? error.message : String(error);
    if (!(error instanceof ConfigError))
      log.error({ err: error }, "the configuration could not be read again");
    else if (this.#failure?.reason !== reason) {
      log.error({ reason }, "the configuration cannot be used: the last one stays");
    }
    this.#failure = { at: clock.now(), reason };
  }

  #looks(): string {
    return this.#found.files.map(lookOf).join("\n");
  }
}

/** What tells a file from what it was; "": it is not there. */
function lookOf(path: string): string {
  try {
    const { ino, size, mtimeMs, ctimeMs } = statSync(path);
    return [ino, size, mtimeMs, ctimeMs].join(" ");
  } catch {
    // Whatever keeps it from being looked at, reading it says what.
    return "";
  }
}

function hashOf(config: Config): string {
  const text = JSON.stringify([...printedValues(config)]);
  return new Bun.CryptoHasher("sha256").update(text).digest("hex").slice(0, HASH_CHARS);
}
