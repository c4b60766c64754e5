import type { JSONRPCMessage } from "@modelcontextprotocol/client";
import type { ChildProcessByStdio } from "node:child_process";
import { spawn } from "node:child_process";
import type { Readable, Writable } from "node:stream";
import type { Clock, Logger } from "../core/ports.ts";
import { Intake, MESSAGE_BYTES, TOO_LONG } from "./mcp-intake.ts";
import type { ToolTransport } from "./mcp-link.ts";
import { NotSent } from "./mcp-link.ts";
import type { Mask } from "./mcp-mask.ts";
import { createStderrLog } from "./mcp-stderr.ts";

export interface StdioOptions {
  readonly command: string;
  readonly args: readonly string[];
  /** All of its environment. */
  readonly env: Readonly<Record<string, string>>;
  /** Hides what is not shown where it prints it. */
  readonly mask: Mask;
  readonly cwd: string;
  readonly clock: Clock;
  readonly log: Logger;
}

type Child = ChildProcessByStdio<Writable, Readable, Readable>;

/** Time to end by itself, before it is made to. */
const STOP_MS = 1_000;
/** Messages that wait for a server that does not read. */
const UNREAD_BYTES = 8 * 1024 * 1024;
/** Messages read in one turn of the event loop: others have theirs in between, however much a server says. */
const MESSAGES_PER_TURN = 100;
/** Time for the last words of one that has ended to be read. */
const LAST_WORDS_MS = 500;
const NEWLINE = 10;

/**
 * A tool server in a process of its own, spoken to in lines of JSON. It leads a process group, which ends with it:
 * nothing that it started stays behind.
 */
export class StdioTransport implements ToolTransport {
  onclose?: (() => void) | undefined;
  onerror?: ((error: Error) => void) | undefined;
  onmessage?: ToolTransport["onmessage"];
  readonly #options: StdioOptions;
  readonly #intake: Intake;
  readonly #exited = Promise.withResolvers<void>();
  #child: Child | null = null;
  #trouble: string | null = null;
  #hasExited = false;
  /** Its standard output has. */
  #hasEnded = false;
  #isReading = false;
  #cancelLast: () => void = () => undefined;
  #isOver = false;
  /** The beginning of a line whose end has not come. */
  #pieces: Buffer[] = [];
  #pending = 0;

  constructor(options: StdioOptions) {
    this.#options = options;
    this.#intake = new Intake(options.clock);
  }

  get trouble(): string | null {
    return this.#trouble;
  }

  async start(): Promise<void> {
    const { command, args, env, cwd, log, clock, mask } = this.#options;
    const child = spawn(command, args, { cwd, env: { ...env }, stdio: "pipe", detached: true });
    this.#child = child;
    const started = Promise.withResolvers<void>();
    child.once("spawn", () => started.resolve());
    child.once("error", (error: NodeJS.ErrnoException) => {
      this.#trouble ??=
        error.code === "ENOENT"
          ? `there is no command ${command}`
          : `${command} cannot be started (${error.code ?? "unknown"})`;
      started.reject(new Error(this.#trouble));
      this.#over();
    });
    child.once("exit", (code, signal) => {
      this.#trouble ??= signal === null ? `it ended with code ${code}` : `it was ended by ${signal}`;
      // What it started and left running, before the number of its group can be another's.
      this.#signal("SIGKILL");
      this.#hasExited = true;
      // One that left its group may hold the pipe open.
      this.#cancelLast = clock.after(LAST_WORDS_MS, () => this.#over());
      this.#overOnceRead();
    });
    child.stdout.once("end", () => {
      this.#hasEnded = true;
      this.#overOnceRead();
      // It can answer nothing any more; most that say so end at once.
      clock.after(LAST_WORDS_MS, () => {
        if (!this.#hasExited) this.#refuse("it closed its standard output");
      });
    });
    child.stdout.on("data", (bytes: Buffer) => {
      child.stdout.pause();
      this.#isReading = true;
      this.#read(bytes);
    });
    const stderr = createStderrLog(clock, log, mask);
    child.stderr.on("data", (bytes: Buffer) => stderr(bytes));
    for (const stream of [child.stdin, child.stdout, child.stderr]) {
      // A pipe that breaks says so once more by the end of the process, or by a message that cannot be sent.
      stream.on("error", (error: Error) => this.onerror?.(error));
    }
    await started.promise;
  }

  send(message: JSONRPCMessage): Promise<void> {
    const stdin = this.#child?.stdin;
    if (this.#hasExited || this.#isOver || stdin?.writable !== true)
      return Promise.reject(new NotSent("it is not running"));
    if (stdin.writableLength > UNREAD_BYTES) return Promise.reject(new NotSent("it does not read"));
    // Whether a write that fails was read in part is not known, so this is no NotSent.
    return new Promise((resolve, reject) => {
      stdin.write(`${JSON.stringify(message)}\n`, (error) =>
        error instanceof Error ? reject(error) : resolve(),
      );
    });
  }

  /** Resolves when it has ended and the rest of its process group was killed. */
  async close(): Promise<void> {
    const child = this.#child;
    if (child === null || this.#isOver) return;
    child.stdin.end();
    this.#signal("SIGTERM");
    const cancel = this.#options.clock.after(STOP_MS, () => this.kill());
    await this.#exited.promise;
    cancel();
  }

  kill(): void {
    if (!this.#isOver) this.#signal("SIGKILL");
  }

  #signal(signal: NodeJS.Signals): void {
    const child = this.#child;
    if (child?.pid === undefined || this.#hasExited) return;
    try {
      if (process.platform === "win32") child.kill(signal);
      else process.kill(-child.pid, signal);
    } catch {
      // ESRCH: the whole group has ended.
    }
  }

  #overOnceRead(): void {
    if (this.#hasExited && this.#hasEnded && !this.#isReading) this.#over();
  }

  #over(): void {
    if (this.#isOver) return;
    this.#cancelLast();
    this.#signal("SIGKILL");
    this.#isOver = true;
    const child = this.#child;
    child?.stdin.destroy();
    child?.stdout.destroy();
    child?.stderr.destroy();
    this.#pieces = [];
    this.#exited.resolve();
    this.onclose?.();
  }

  #read(bytes: Buffer): void {
    if (this.#isOver) return;
    let from = 0;
    let messages = 0;
    for (let at = bytes.indexOf(NEWLINE); at >= 0; at = bytes.indexOf(NEWLINE, from)) {
      if (!this.#hold(bytes.subarray(from, at))) return;
      from = at + 1;
      const line = Buffer.concat(this.#pieces).toString("utf8").trim();
      this.#pieces = [];
      this.#pending = 0;
      if (!this.#take(line)) return;
      if (++messages < MESSAGES_PER_TURN) continue;
      this.#options.clock.after(0, () => this.#read(bytes.subarray(from)));
      return;
    }
    if (!this.#hold(bytes.subarray(from))) return;
    this.#isReading = false;
    this.#child?.stdout.resume();
    this.#overOnceRead();
  }

  #hold(piece: Buffer): boolean {
    this.#pending += piece.length;
    if (this.#pending > MESSAGE_BYTES) return this.#refuse(TOO_LONG);
    if (piece.length > 0) this.#pieces.push(piece);
    return true;
  }

  #take(line: string): boolean {
    const wrong = this.#intake.take(1, line.length);
    if (wrong !== null) return this.#refuse(wrong);
    if (line === "") return true;
    try {
      // What is JSON and no message of the protocol is sorted out by who listens.
      this.onmessage?.(JSON.parse(line) as JSONRPCMessage);
    } catch (cause) {
      this.onerror?.(new Error("it wrote a line that is no message to its standard output", { cause }));
    }
    return !this.#isOver;
  }

  /** Nothing more of it is read. */
  #refuse(trouble: string): false {
    this.#trouble ??= trouble;
    this.kill();
    this.#over();
    return false;
  }
}
