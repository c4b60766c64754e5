/** What is wrong with the configuration: one line that says where, what, and what to do. */
export class ConfigError extends Error {
  constructor(message: string, options?: { cause: unknown }) {
    super(message.replaceAll(/\s*[\r\n]+\s*/g, " "), options);
    this.name = "ConfigError";
  }
}

/** What is built from options and finds one wrong: its error is one of the configuration. @throws ConfigError */
export function configured<T>(build: () => T): T {
  try {
    return build();
  } catch (error) {
    throw new ConfigError(error instanceof Error ? error.message : String(error), { cause: error });
  }
}
