import { ClientError } from "../client/error.ts";
import { ConfigError, NamedFileError } from "../config/error.ts";
import { GatewayError } from "../protocol/errors.ts";

/** What a command's exit code says. Of `usage` the command has to be called otherwise, or configured: no restart helps. */
export const EXIT = { ok: 0, failed: 1, usage: 2, unreachable: 3, unauthorized: 4 } as const;

/** The command line cannot be understood; the message names the way out. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** A command could not do what it was asked to; the message is the one line to print. */
export class CommandError extends Error {
  override readonly name = "CommandError";
}

const UNAUTHORIZED: ReadonlySet<string> = new Set(["UNAUTHORIZED", "FORBIDDEN"]);
const UNREACHABLE: ReadonlySet<string> = new Set(["UNREACHABLE", "CLOSED"]);

export function exitCodeOf(error: unknown): number {
  if (error instanceof NamedFileError) return EXIT.failed;
  if (error instanceof UsageError || error instanceof ConfigError) return EXIT.usage;
  const code = errorCode(error);
  if (code === null) return EXIT.failed;
  if (UNAUTHORIZED.has(code)) return EXIT.unauthorized;
  return UNREACHABLE.has(code) ? EXIT.unreachable : EXIT.failed;
}

/** The code of an error that came over the wire or from a gateway in this process; null for any other. */
export function errorCode(error: unknown): string | null {
  if (error instanceof ClientError) return error.code;
  return error instanceof GatewayError ? error.reason : null;
}
