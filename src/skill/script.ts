import { stat } from "node:fs/promises";
import { extname } from "node:path";
import { readInside, realFile } from "./confined.ts";

export interface ScriptBounds {
  /** What is kept of its output. */
  readonly kept_bytes: number;
  /** One that says more is stopped: it would never be done with. */
  readonly output_bytes: number;
}

export interface ScriptEnd {
  /** Null: a signal ended it. */
  readonly exit_code: number | null;
  readonly signal: string | number | null;
  readonly stdout: string;
  readonly stderr: string;
  /** Bytes that were not kept. */
  readonly dropped: number;
  /** It was stopped because it said too much. */
  readonly flooded: boolean;
}

/** Of the gateway's variables, all that a script is given: none that holds a secret. */
const ENVIRONMENT = ["PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR"];
/** For files that do not say what runs them. */
const INTERPRETERS: Readonly<Record<string, string>> = {
  ".py": "python3",
  ".sh": "sh",
  ".js": "node",
  ".mjs": "node",
  ".cjs": "node",
};
const SHEBANG_BYTES = 255;
/** What a process that left its group may still hold open is not waited for. */
const REST_MS = 1_000;

/** What a script runs in: nothing of the gateway's but where programs, the home directory and temporary files are, and the language. */
export function scriptEnvironment(env: Readonly<Record<string, string | undefined>>): Record<string, string> {
  return Object.fromEntries(
    ENVIRONMENT.flatMap((name) => (env[name] === undefined ? [] : [[name, env[name]]])),
  );
}

/**
 * Runs a file of a skill's folder (a real path), without a shell, in a process group of its own that is killed with all
 * its children at the signal, at too much output, and when the file itself is done.
 * @throws Error in words for whoever named the file; "stopped" after the signal
 */
export async function runScript(
  folder: string,
  script: string,
  args: readonly string[],
  { signal, bounds }: { readonly signal: AbortSignal; readonly bounds: ScriptBounds },
): Promise<ScriptEnd> {
  const env = scriptEnvironment(process.env);
  const command = await commandOf(folder, script, env);
  // Again, and with nothing in between: a folder on its way may have become a link.
  const path = await realFile(folder, script);
  if (path !== command.path) throw new Error(`${JSON.stringify(script)} was moved while it was to be run`);
  if (signal.aborted) throw stopped();
  const child = spawn([...command.by, path, ...args], folder, env, script);
  const kill = (): void => killGroup(child.pid);
  signal.addEventListener("abort", kill, { once: true });
  try {
    const output = new Output(bounds, kill);
    const read = Promise.all([output.read(child.stdout, "stdout"), output.read(child.stderr, "stderr")]);
    const code = await child.exited;
    kill();
    await Promise.race([read, Bun.sleep(REST_MS)]);
    output.close();
    if (signal.aborted) throw stopped();
    const killed_by = child.signalCode;
    return { exit_code: killed_by === null ? code : null, signal: killed_by, ...output.end() };
  } finally {
    signal.removeEventListener("abort", kill);
  }
}

function spawn(cmd: string[], cwd: string, env: Record<string, string>, script: string) {
  try {
    return Bun.spawn({ cmd, cwd, env, detached: true, stdin: "ignore", stdout: "pipe", stderr: "pipe" });
  } catch (cause) {
    const { code = "" } = cause as NodeJS.ErrnoException;
    const why = code === "ENOENT" ? "what its first line names is not on this machine" : code;
    throw new Error(`${JSON.stringify(script)} cannot be run: ${why}`, { cause });
  }
}

/** What runs the file: itself where it is executable, what its first line or its name says otherwise. */
async function commandOf(
  folder: string,
  script: string,
  env: Readonly<Record<string, string>>,
): Promise<{ readonly by: readonly string[]; readonly path: string }> {
  const said = JSON.stringify(script);
  const path = await realFile(folder, script);
  const found = await stat(path);
  if (!found.isFile()) throw new Error(`${said} is ${found.isDirectory() ? "a folder" : "no regular file"}`);
  if ((found.mode & 0o111) !== 0) return { by: [], path };
  const shebang = await shebangOf(folder, script);
  if (shebang !== null) return { by: shebang, path };
  const interpreter = INTERPRETERS[extname(path)];
  if (interpreter === undefined) {
    throw new Error(
      `${said} cannot be run: make it executable, or give it a first line like #!/usr/bin/env python3`,
    );
  }
  const program = Bun.which(interpreter, { PATH: env["PATH"] ?? "" });
  if (program === null) throw new Error(`${said} cannot be run: there is no ${interpreter} on this machine`);
  return { by: [program], path };
}

/** The interpreter and at most one argument of it, as the kernel reads them. */
async function shebangOf(folder: string, script: string): Promise<string[] | null> {
  const { text } = await readInside(folder, script, SHEBANG_BYTES);
  const [line = ""] = text.split(/\r?\n/, 1);
  const [, program, argument = ""] = /^#![ \t]*(\S+)[ \t]*(.*?)[ \t]*$/.exec(line) ?? [];
  if (program === undefined) return null;
  return argument === "" ? [program] : [program, argument];
}

function killGroup(pid: number): void {
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // Nobody is left in it.
  }
}

function stopped(): Error {
  return new Error("stopped");
}

/** What a script says on both its streams, up to a bound. */
class Output {
  readonly #bounds: ScriptBounds;
  readonly #flood: () => void;
  readonly #texts = { stdout: "", stderr: "" };
  readonly #readers: ReadableStreamDefaultReader<Uint8Array>[] = [];
  #kept = 0;
  #total = 0;

  constructor(bounds: ScriptBounds, flood: () => void) {
    this.#bounds = bounds;
    this.#flood = flood;
  }

  /** Never rejects. */
  async read(stream: ReadableStream<Uint8Array>, name: "stdout" | "stderr"): Promise<void> {
    const reader = stream.getReader();
    this.#readers.push(reader);
    const decoder = new TextDecoder();
    for (;;) {
      const { done, value } = await reader.read().catch(() => ({ done: true, value: undefined }));
      if (done || value === undefined) break;
      this.#total += value.length;
      const room = this.#bounds.kept_bytes - this.#kept;
      const kept = value.subarray(0, Math.max(0, room));
      this.#kept += kept.length;
      this.#texts[name] += decoder.decode(kept, { stream: true });
      if (this.#total > this.#bounds.output_bytes) this.#flood();
    }
    this.#texts[name] += decoder.decode();
  }

  /** Whatever still comes is not waited for. */
  close(): void {
    for (const reader of this.#readers) reader.cancel().catch(() => undefined);
  }

  end(): Pick<ScriptEnd, "stdout" | "stderr" | "dropped" | "flooded"> {
    const dropped = this.#total - this.#kept;
    return { ...this.#texts, dropped, flooded: this.#total > this.#bounds.output_bytes };
  }
}
