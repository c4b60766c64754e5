import { lengthUtf8 } from "./text.ts";

const LEVELS = ["debug", "info", "warn", "error"] as const;
export type LogLevel = (typeof LEVELS)[number];

/** A line of the log, as it was written. */
export interface LogEntry {
  readonly seq: number;
  readonly ts: number;
  readonly level: LogLevel;
  readonly message: string;
  readonly component?: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

export interface LogQuery {
  /** Lines after this one, oldest first; without it the newest. */
  readonly after?: number | undefined;
  readonly limit: number;
  /** At least this one. */
  readonly level?: LogLevel | undefined;
  readonly component?: string | undefined;
}

export interface LogPage {
  readonly lines: readonly LogEntry[];
  /** What to ask after next. */
  readonly next: number;
  /** Lines after `after` are not there any more. */
  readonly gap: boolean;
}

interface Kept {
  readonly seq: number;
  readonly text: string;
}

const LINES_MAX = 2_000;
const BYTES_MAX = 1024 * 1024;
/** A longer one keeps its message, and only the beginning of that. */
const LINE_CHARS = 8 * 1024;
const MESSAGE_CHARS = 1024;
/** Of one answer. */
const PAGE_BYTES = 192 * 1024;

/** The newest lines of the log, as they were written: with everything hidden in them that the log hides. */
export class LogTail {
  #lines: Kept[] = [];
  #chars = 0;
  #seq: number;
  /** How many were written of each level. */
  readonly counts: Record<LogLevel, number> = { debug: 0, info: 0, warn: 0, error: 0 };

  /** `first`: the number before that of the first line, larger than every one of an earlier process. */
  constructor(first: number) {
    this.#seq = first;
  }

  /** A line was written: JSON, with or without its line feed. */
  take(line: string): void {
    // It is what every line begins with.
    const [, level] = /^\{"level":"(debug|info|warn|error)"/.exec(line) ?? [];
    if (level !== undefined) this.counts[level as LogLevel]++;
    const text = line.length > LINE_CHARS ? shortened(line) : line;
    this.#lines.push({ seq: ++this.#seq, text });
    this.#chars += text.length;
    if (this.#lines.length <= LINES_MAX && this.#chars <= BYTES_MAX) return;
    // A tenth at once, so that it is not done for every line.
    let out = 0;
    while (this.#lines.length - out > LINES_MAX * 0.9 || this.#chars > BYTES_MAX * 0.9) {
      this.#chars -= this.#lines[out]?.text.length ?? 0;
      out++;
    }
    this.#lines.splice(0, out);
  }

  read({ after, limit, level = "debug", component }: LogQuery): LogPage {
    const least = LEVELS.indexOf(level);
    const wanted = ({ level: its, component: part }: LogEntry): boolean =>
      LEVELS.indexOf(its) >= least && (component === undefined || part === component);
    return after === undefined || after > this.#seq
      ? this.#newest(limit, wanted)
      : this.#following(after, limit, wanted);
  }

  #newest(limit: number, wanted: (entry: LogEntry) => boolean): LogPage {
    const lines: LogEntry[] = [];
    let room = PAGE_BYTES;
    for (let at = this.#lines.length - 1; at >= 0 && lines.length < limit; at--) {
      const kept = this.#lines[at] as Kept;
      const entry = entryOf(kept);
      if (!wanted(entry)) continue;
      room -= lengthUtf8(kept.text);
      if (room < 0 && lines.length > 0) break;
      lines.unshift(entry);
    }
    return { lines, next: this.#seq, gap: false };
  }

  #following(after: number, limit: number, wanted: (entry: LogEntry) => boolean): LogPage {
    const lines: LogEntry[] = [];
    const first = this.#lines[0]?.seq ?? this.#seq + 1;
    let room = PAGE_BYTES;
    let next = Math.max(after, first - 1);
    for (let at = next + 1 - first; at < this.#lines.length; at++) {
      const kept = this.#lines[at] as Kept;
      const entry = entryOf(kept);
      if (wanted(entry)) {
        room -= lengthUtf8(kept.text);
        if (lines.length === limit || (room < 0 && lines.length > 0)) break;
        lines.push(entry);
      }
      next = kept.seq;
    }
    return { lines, next, gap: first > after + 1 };
  }
}

function entryOf({ seq, text }: Kept): LogEntry {
  const { time, level, msg, component, ...fields } = JSON.parse(text) as Record<string, unknown>;
  return {
    seq,
    ts: Date.parse(String(time)),
    level: LEVELS.find((each) => each === level) ?? "info",
    message: String(msg ?? ""),
    ...(typeof component === "string" && { component }),
    fields,
  };
}

function shortened(line: string): string {
  const { time, level, msg, component } = JSON.parse(line) as Record<string, unknown>;
  return JSON.stringify({
    time,
    level,
    component,
    msg: String(msg).slice(0, MESSAGE_CHARS),
    truncated: true,
  });
}
