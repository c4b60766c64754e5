import { ConfigError } from "../config/error.ts";
import { harmless } from "./markdown.ts";
import { CommandError, UsageError, errorCode } from "./exit.ts";

/** The line that tells a person what went wrong; a bug tells its stack instead. */
export function explain(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error instanceof UsageError || error instanceof CommandError || error instanceof ConfigError)
    return error.message;
  // It may quote a model's server, or a name that a stranger chose.
  if (errorCode(error) !== null) return harmless(error.message);
  return isSystemError(error)
    ? error.message
    : `something unexpected happened: ${error.stack ?? error.message}`;
}

/** An errno of the operating system: its message names the call, the path and the reason. */
function isSystemError(error: Error): boolean {
  return "code" in error && typeof error.code === "string" && /^E[A-Z0-9]+$/.test(error.code);
}
