/** What is wrong with the configuration: one line that says where, what, and what to do. */
export class ConfigError extends Error {
  constructor(message: string, options?: { cause: unknown }) {
    super(message.replaceAll(/\s*[\r\n]+\s*/g, " "), options);
    this.name = "ConfigError";
  }
}

/**
 * A file that the configuration names cannot be used. It may be there, or be whole, the next time: what is mounted late, or is just being
 * renewed, is nothing the configuration can say otherwise.
 */
export class NamedFileError extends ConfigError {}

/** What is built from options and finds one wrong: its error is one of the configuration. @throws ConfigError, or what `Kind` says */
export function configured<T>(build: () => T, Kind: typeof ConfigError = ConfigError): T {
  try {
    return build();
  } catch (error) {
    throw new Kind(error instanceof Error ? error.message : String(error), { cause: error });
  }
}
