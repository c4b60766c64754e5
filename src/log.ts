import pino from "pino";
import pretty from "pino-pretty";
import type { Logger } from "./core/ports.ts";

/** The `[log]` section. */
export interface LogConfig {
  readonly level: "debug" | "info" | "warn" | "error" | "silent";
  readonly format: "auto" | "json" | "pretty";
  /** True: prompts and answers may be in the log. */
  readonly content: boolean;
}

/** Where lines go, each with its line feed. */
export interface LogStream {
  write(line: string): unknown;
}

type Heard = (line: string) => void;

/** Who hears the lines of a log, besides those it is written for. */
const TAPS = new WeakMap<Logger, Set<Heard>>();

/** Hears every line that a log of ours writes from here on, a JSON object with a line feed; nothing of somebody else's. */
export function tapLog(log: Logger, heard: Heard): void {
  TAPS.get(log)?.add(heard);
}

/** Fields that are never written. */
const SECRETS = [
  "token",
  "auth_token",
  "session_token",
  "ticket",
  "authorization",
  "Authorization",
  "cookie",
  "Cookie",
  "headers",
  "password",
  "password_hash",
  "secret",
  "api_key",
  "api_keys",
  "private_key",
];
/** What people and models said: written only where `log.content` asks for it. */
const CONTENT = ["content", "text", "delta", "prompt", "system_prompt", "completion", "arguments"];
const MASK = "[redacted]";
/** How deep a field may be hidden in what is logged. */
const DEPTHS = ["", "*.", "*.*.", "*.*.*."];

/**
 * The log of a gateway, to stdout or `stream`: a JSON object a line, or text for people. Line feeds in what is logged
 * stay escaped, so that nobody can write a line of their own.
 */
export function createLogger(config: LogConfig, stream?: LogStream): Logger {
  const hidden = config.content ? SECRETS : [...SECRETS, ...CONTENT];
  const options: pino.LoggerOptions = {
    level: config.level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
    serializers: { err: describeError, error: describeError },
    redact: { paths: DEPTHS.flatMap((depth) => hidden.map((field) => `${depth}${field}`)), censor: MASK },
  };
  const taps = new Set<Heard>();
  const out = destination(config.format, stream);
  const log = pino(options, { write: (line) => tell(line, taps, out) });
  TAPS.set(log, taps);
  return log;
}

function tell(line: string, taps: ReadonlySet<Heard>, out: pino.DestinationStream): void {
  for (const heard of taps) heard(line);
  out.write(line);
}

function destination(format: LogConfig["format"], stream: LogStream | undefined): pino.DestinationStream {
  const terminal = stream === undefined && process.stdout.isTTY;
  const readable = format === "pretty" || (format === "auto" && terminal);
  const out = stream ?? pino.destination({ dest: 1, sync: true });
  if (!readable) return { write: (line) => void out.write(line) };
  // In this thread: a transport of pino's is a worker, which an executable cannot start.
  const render = pretty.prettyFactory({
    colorize: terminal,
    singleLine: true,
    translateTime: "SYS:HH:MM:ss.l",
    messageFormat: (line, key) => escapeControls(String(line[key] ?? "")),
  });
  return { write: (line) => void out.write(render(line)) };
}

/** An error without the fields that libraries hang on to it, which may hold a request and its headers. */
function describeError(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const { name, message, stack, cause } = error;
  return { type: name, message, stack, ...(cause !== undefined && { cause: describeError(cause) }) };
}

/** People's terminals obey control characters. */
function escapeControls(text: string): string {
  return text.replaceAll(/\p{Cc}/gu, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`);
}
