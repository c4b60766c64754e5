import { expect, test } from "bun:test";
import { closeSync, constants, openSync, readSync } from "node:fs";
import { join } from "node:path";
import { AGENTBUS, workplace } from "../support/executable.ts";
import { freePort } from "../support/free-port.ts";
import { needs } from "../support/needs.ts";

const HAS_MKFIFO = needs("mkfifo", "coreutils");
const REQUESTS = 8_000;
const AT_ONCE = 32;
const LOST = "lines of the log were lost: they were not read";

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

test.if(HAS_MKFIFO)("a log whose reader has gone ends nothing", async () => {
  using place = workplace();
  const pipe = join(place.path, "log");
  expect(Bun.spawnSync(["mkfifo", pipe]).exitCode).toBe(0);
  const reader = openSync(pipe, constants.O_RDONLY | constants.O_NONBLOCK);
  const writer = openSync(pipe, constants.O_WRONLY);
  const { url, child } = await begin(place.path, writer);
  try {
    closeSync(writer);
    await askOften(url, 10);
    closeSync(reader);
    await askOften(url, 200);
    child.kill("SIGTERM");
    expect(await child.exited).toBe(0);
  } finally {
    child.kill("SIGKILL");
    await child.exited;
  }
});

test.if(HAS_MKFIFO)(
  "a log that nobody reads keeps no request waiting; who reads it again gets whole lines, and how many are missing",
  async () => {
    using place = workplace();
    const pipe = join(place.path, "log");
    expect(Bun.spawnSync(["mkfifo", pipe]).exitCode).toBe(0);
    // Both ends, so that opening it waits for nobody; blocking, as what a shell makes.
    const end = openSync(pipe, constants.O_RDWR);
    const { url, child } = await begin(place.path, end);
    try {
      await askOften(url, REQUESTS);
      let text = "";
      const bytes = Buffer.alloc(65_536);
      const reader = openSync(pipe, constants.O_RDONLY | constants.O_NONBLOCK);
      const read = (): void => {
        try {
          for (let size = 1; size > 0;) text += bytes.toString("latin1", 0, (size = readSync(reader, bytes)));
        } catch {
          // There is no more for now.
        }
      };
      while (!text.includes(LOST)) {
        read();
        await Bun.sleep(5);
      }
      child.kill("SIGTERM");
      const over = child.exited.then(() => true);
      while (!(await Promise.race([over, Bun.sleep(5)]))) read();
      read();
      closeSync(reader);
      const lines = text
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
      closeSync(end);
    }
  },
  60_000,
);
