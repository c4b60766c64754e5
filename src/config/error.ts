/** What is wrong with the configuration: one line that says where, what, and what to do. */
export class ConfigError extends Error {
  constructor(message: string, options?: { cause: unknown }) {
    super(message.replaceAll(/\s*[\r\n]+\s*/g, " "), options);
    this.name = "ConfigError";
  }
}
