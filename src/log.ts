import pino from "pino";
import pretty from "pino-pretty";
import type { Logger } from "./core/ports.ts";
import { LogOutput } from "./log/output.ts";

type Level = "debug" | "info" | "warn" | "error" | "silent";

/** The `[log]` section. */
export interface LogConfig {
  readonly level: Level;
  /** Of components, where it is another one. */
  readonly levels: Readonly<Partial<Record<string, string>>>;
  readonly format: "auto" | "json" | "pretty";
  /** True: prompts and answers may be in the log. */
  readonly content: boolean;
}

/** Where lines go, each with its line feed. */
export interface LogStream {
  write(line: string): unknown;
}

type Heard = (line: string) => void;

/** Hears every line that a log of ours writes from here on, a JSON object with a line feed; nothing of somebody else's. */
export function tapLog(log: Logger, heard: Heard): void {
  WRITINGS.get(log)?.taps.add(heard);
}

/** From here on a log of ours, and every child of it, goes by another configuration; one of somebody else stays as it is. */
export function reconfigure(log: Logger, next: LogConfig): void {
  const writing = WRITINGS.get(log);
  if (writing === undefined) return;
  const { format, content } = writing.config;
  writing.config = next;
  if (format !== next.format)
    writing.out = destination(next.format, writing.stream, (lines) => lost(lines, writing));
  if (content !== next.content) writing.pino = createPino(next, (line) => tell(line, writing));
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

const RANKS: Readonly<Record<Level, number>> = { debug: 0, info: 1, warn: 2, error: 3, silent: 4 };

/** What a log and its children share. */
interface Writing {
  config: LogConfig;
  pino: pino.Logger;
  out: pino.DestinationStream;
  readonly stream: LogStream | undefined;
  /** Who hears the lines, besides those they are written for. */
  readonly taps: Set<Heard>;
}

const WRITINGS = new WeakMap<Logger, Writing>();

/**
 * The log of a gateway, to stdout or `stream`: a JSON object a line, or text for people. Line feeds in what is logged
 * stay escaped, so that nobody can write a line of their own. A child with a `component` has the level of that.
 */
export function createLogger(config: LogConfig, stream?: LogStream): Logger {
  const writing: Writing = {
    config,
    pino: createPino(config, (line) => tell(line, writing)),
    out: destination(config.format, stream, (lines) => lost(lines, writing)),
    stream,
    taps: new Set(),
  };
  const log = loggerOf(writing, {});
  WRITINGS.set(log, writing);
  return log;
}

function tell(line: string, { taps, out }: Writing): void {
  for (const heard of taps) heard(line);
  out.write(line);
}

function lost(lines: number, { pino }: Writing): void {
  pino.warn({ lines }, "lines of the log were lost: they were not read");
}

function loggerOf(writing: Writing, bound: Readonly<Record<string, unknown>>): Logger {
  const component = typeof bound["component"] === "string" ? bound["component"] : "";
  const write =
    (level: Exclude<Level, "silent">): Logger[typeof level] =>
    (fields, message) => {
      const { pino, config } = writing;
      const least = (config.levels[component] ?? config.level) as Level;
      if (RANKS[level] >= RANKS[least]) pino[level]({ ...bound, ...fields }, message);
    };
  return {
    debug: write("debug"),
    info: write("info"),
    warn: write("warn"),
    error: write("error"),
    child: (fields) => loggerOf(writing, { ...bound, ...fields }),
  };
}

function createPino({ content }: LogConfig, write: Heard): pino.Logger {
  const hidden = content ? SECRETS : [...SECRETS, ...CONTENT];
  const options: pino.LoggerOptions = {
    // What is written is decided before it comes here.
    level: "debug",
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
    serializers: { err: describeError, error: describeError },
    redact: { paths: DEPTHS.flatMap((depth) => hidden.map((field) => `${depth}${field}`)), censor: MASK },
  };
  return pino(options, { write });
}

function destination(
  format: LogConfig["format"],
  stream: LogStream | undefined,
  onLost: (lines: number) => void,
): pino.DestinationStream {
  const terminal = stream === undefined && process.stdout.isTTY;
  const readable = format === "pretty" || (format === "auto" && terminal);
  const out = stream ?? standardOutput(onLost);
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

/** One for all logs of the process: what waits in it stays in order. */
let output: LogOutput | null = null;

function standardOutput(onLost: (lines: number) => void): LogStream {
  return (output ??= new LogOutput({ fd: 1, onLost }));
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
