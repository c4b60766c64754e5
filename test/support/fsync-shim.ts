import { closeSync, openSync, readFileSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";

/** One call of fsync or fdatasync. */
export interface SyncCall {
  readonly call: "fsync" | "fdatasync";
  readonly path: string;
  /** CLOCK_MONOTONIC, when it was called and when it came back. */
  readonly began_ns: bigint;
  readonly ended_ns: bigint;
  /** CLOCK_REALTIME, when it was called. */
  readonly at_ms: number;
  /** 0 where it succeeded. */
  readonly errno: number;
}

export interface FsyncShim {
  /** What a child process needs in its environment. */
  readonly env: Record<string, string>;
  /** Calls so far, oldest first. */
  readonly calls: () => SyncCall[];
  /** Every call takes so long from now on. */
  readonly delay: (ms: number) => void;
  /** Every call fails from now on; null: none does. The file is not synced. */
  readonly failSync: (errno: "EIO" | null) => void;
  /** Every write fails from now on; null: none does. Nothing is written. */
  readonly failWrites: (errno: "ENOSPC" | "EIO" | "EROFS" | null) => void;
  /** The file system has one name for a file from now on. */
  readonly failLinks: () => void;
  /** Writes that failed so far. */
  readonly failedWrites: () => number;
}

const ERRNO = { EIO: 5, ENOSPC: 28, EROFS: 30, EPERM: 1 } as const;
const SLOTS = { delay_ms: 0, sync_errno: 1, write_errno: 2, failed_writes: 3, link_errno: 4 } as const;

/** Whether a shim can be compiled and preloaded here. */
export function canShim(): boolean {
  return process.platform === "linux" && Bun.which("cc") !== null;
}

/**
 * Compiles the shim into `directory`, an empty one of the caller's. It touches files whose path contains `match`, in
 * every process started with its environment, also while they run.
 */
export function compileFsyncShim(directory: string, match: string): FsyncShim {
  const library = join(directory, "fsync-shim.so");
  const control = join(directory, "control");
  const log = join(directory, "log");
  const source = join(import.meta.dir, "fsync-shim.c");
  const built = Bun.spawnSync([
    "cc",
    "-shared",
    "-fPIC",
    "-O1",
    "-Wall",
    "-Wno-unused-result",
    "-o",
    library,
    source,
    "-ldl",
  ]);
  if (built.exitCode !== 0) throw new Error(`cannot compile the fsync shim: ${built.stderr.toString()}`);
  writeFileSync(control, new Int32Array(Object.keys(SLOTS).length));
  writeFileSync(log, "");

  const set = (slot: keyof typeof SLOTS, value: number) => {
    const file = openSync(control, "r+");
    writeSync(file, new Int32Array([value]), 0, 4, SLOTS[slot] * 4);
    closeSync(file);
  };
  return {
    env: {
      LD_PRELOAD: library,
      AGENTBUS_SHIM_CONTROL: control,
      AGENTBUS_SHIM_LOG: log,
      AGENTBUS_SHIM_MATCH: match,
    },
    calls: () => readFileSync(log, "utf8").split("\n").filter(Boolean).map(toCall),
    delay: (ms) => set("delay_ms", ms),
    failSync: (errno) => set("sync_errno", errno === null ? 0 : ERRNO[errno]),
    failWrites: (errno) => set("write_errno", errno === null ? 0 : ERRNO[errno]),
    failLinks: () => set("link_errno", ERRNO.EPERM),
    failedWrites: () => readFileSync(control).readInt32LE(SLOTS.failed_writes * 4),
  };
}

function toCall(line: string): SyncCall {
  const [call, path = "", began = "0", ended = "0", at = "0", errno = "0"] = line.split("\t");
  if (call !== "fsync" && call !== "fdatasync") throw new Error(`not a line of the fsync shim: ${line}`);
  return {
    call,
    path,
    began_ns: BigInt(began),
    ended_ns: BigInt(ended),
    at_ms: Number(at),
    errno: Number(errno),
  };
}
