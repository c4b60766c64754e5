import { dlopen, FFIType, ptr } from "bun:ffi";
import { describe, expect, test } from "bun:test";
import { closeSync, constants, openSync, readSync } from "node:fs";
import { join } from "node:path";
import { AGENTBUS, workplace } from "../support/executable.ts";
import { freePort } from "../support/free-port.ts";
import { needs } from "../support/needs.ts";

const HAS_MKFIFO = needs("mkfifo", "coreutils");
/** More lines than the system and the gateway keep for a reader. */
const REQUESTS = 12_000;
const AT_ONCE = 32;
const LOST = "lines of the log were lost: they were not read";

/** What a log goes to, and who may read it. */
interface Channel {
  /** Blocking, as whoever starts a gateway makes it. */
  readonly writer: number;
  /** What there is now. */
  read(): Buffer;
  /** Nobody reads it any more. */
  leave(): void;
}

/** What a shell makes. */
function pipe(folder: string): Channel {
  const path = join(folder, "log");
  expect(Bun.spawnSync(["mkfifo", path]).exitCode).toBe(0);
  const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const bytes = Buffer.alloc(65_536);
  return {
    writer: openSync(path, constants.O_WRONLY),
    read() {
      try {
        return Buffer.from(bytes.subarray(0, readSync(reader, bytes)));
      } catch {
        return Buffer.alloc(0);
      }
    },
    leave: () => closeSync(reader),
  };
}

/** What systemd gives a service, and many a program what it starts. */
function socket(): Channel {
  const [AF_UNIX, SOCK_STREAM, MSG_DONTWAIT] = [1, 1, 0x40];
  const { i32, i64, u64, ptr: pointer } = FFIType;
  const { symbols } = dlopen("libc.so.6", {
    socketpair: { args: [i32, i32, i32, pointer], returns: i32 },
    recv: { args: [i32, pointer, u64, i32], returns: i64 },
  });
  const pair = new Int32Array(2);
  expect(symbols.socketpair(AF_UNIX, SOCK_STREAM, 0, ptr(pair))).toBe(0);
  const [reader = -1, writer = -1] = pair;
  const bytes = Buffer.alloc(65_536);
  return {
    writer,
    read() {
      const size = Number(symbols.recv(reader, ptr(bytes), bytes.length, MSG_DONTWAIT));
      return Buffer.from(bytes.subarray(0, Math.max(0, size)));
    },
    leave: () => closeSync(reader),
  };
}

/** A gateway that writes a line for each request. */
async function begin(folder: string, stdout: number) {
  const port = String(await freePort());
  const child = Bun.spawn([...AGENTBUS, "serve"], {
    cwd: folder,
    env: {
      PATH: Bun.env["PATH"] ?? "",
      AGENTBUS_SERVER_PORT: port,
      AGENTBUS_SERVER_DATA_DIR: join(folder, "data"),
      AGENTBUS_LOG_LEVEL: "debug",
    },
    stdin: "ignore",
    stdout,
    stderr: "inherit",
  });
  return { child, url: `http://127.0.0.1:${port}` };
}

async function askOften(url: string, times: number): Promise<void> {
  while ((await fetch(`${url}/health`).catch(() => null)) === null) await Bun.sleep(20);
  let left = times;
  const ask = async (): Promise<void> => {
    while (left-- > 0) expect((await fetch(`${url}/health`)).status).toBe(200);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, ask));
}

const IS_LINUX = process.platform === "linux";
const CHANNELS = [
  ["pipe", pipe, HAS_MKFIFO],
  ["socket", socket, IS_LINUX],
] as const;

describe.each(CHANNELS)("a log that goes to a %s", (_name, make, is) => {
  test.if(is)("ends nothing when its reader has gone", async () => {
    using place = workplace();
    const { writer, leave } = make(place.path);
    const { url, child } = await begin(place.path, writer);
    try {
      closeSync(writer);
      await askOften(url, 10);
      leave();
      await askOften(url, 200);
      child.kill("SIGTERM");
      expect(await child.exited).toBe(0);
    } finally {
      child.kill("SIGKILL");
      await child.exited;
    }
  });

  test.if(is)(
    "keeps no request waiting while nobody reads it; who reads it again gets whole lines, and how many are missing",
    async () => {
      using place = workplace();
      const { writer, read, leave } = make(place.path);
      const { url, child } = await begin(place.path, writer);
      try {
        closeSync(writer);
        await askOften(url, REQUESTS);
        const said: Buffer[] = [];
        const readAll = (): void => {
          for (let some = read(); some.length > 0; some = read()) said.push(some);
        };
        const text = (): string => Buffer.concat(said).toString();
        while (!text().includes(LOST)) {
          readAll();
          await Bun.sleep(5);
        }
        child.kill("SIGTERM");
        const over = child.exited.then(() => true);
        while (!(await Promise.race([over, Bun.sleep(5)]))) readAll();
        readAll();
        leave();
        const lines = text()
          .trimEnd()
          .split("\n")
          .map((line) => JSON.parse(line) as { msg: string; lines?: number });
        const lost = lines.reduce((sum, line) => sum + (line.msg === LOST ? (line.lines ?? 0) : 0), 0);
        const told = lines.filter(({ msg }) => msg === "a request was answered").length;
        expect(lost).toBeGreaterThan(0);
        expect(told + lost).toBeGreaterThanOrEqual(REQUESTS);
        expect(await child.exited).toBe(0);
      } finally {
        child.kill("SIGKILL");
        await child.exited;
      }
    },
    60_000,
  );
});
