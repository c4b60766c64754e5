import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { FsyncShim } from "../support/fsync-shim.ts";
import { canShim, compileFsyncShim } from "../support/fsync-shim.ts";
import type { ConfigTable, RunningGateway } from "../support/gateway-process.ts";
import { startGateway } from "../support/gateway-process.ts";
import type { ModelServer } from "../support/model-server.ts";
import { startModelServer } from "../support/model-server.ts";
import { needs } from "../support/needs.ts";
import type { TestSocket } from "../support/ws-client.ts";
import { openSocket } from "../support/ws-client.ts";
import { ANY_RATE } from "./beside.ts";
import { watchLog } from "./watched-log.ts";

/**
 * Storage that fails in a way that leaves open what was written: the process says so and ends, acknowledges nothing that
 * may be lost, and the next one goes on with everything that was acknowledged.
 */

const BYTES = 64 * 1024;
/** In units of 512 bytes: 4 MiB for the largest file, and none. */
const SMALL = "8192";
const ANY = "unlimited";
const EXPECTED = ["the store's writer is lost", "the outcome of a write is unknown"];

let model: ModelServer;
let home: string;
beforeAll(async () => {
  home = mkdtempSync(join(tmpdir(), "agentbus-broken-"));
  model = await startModelServer();
});
afterAll(() => {
  model.stop();
  rmSync(home, { recursive: true, force: true });
});

interface Storage {
  readonly options: { readonly binary?: string; readonly env?: Record<string, string> };
  /** From now on nothing is written. */
  breaks(): void;
  mends(): void;
}

/** A file that reaches the size its process may give it: EFBIG, which is no full disk. */
function limitedFiles(): Storage {
  const binary = join(home, "limited.sh");
  const limit = join(home, "limit");
  writeFileSync(
    binary,
    `#!/bin/sh\nulimit -f "$(cat "${limit}")"\nexec "${resolve(Bun.env["AGENTBUS_BINARY"] ?? "")}" "$@"\n`,
  );
  chmodSync(binary, 0o755);
  writeFileSync(limit, SMALL);
  return { options: { binary }, breaks: () => undefined, mends: () => writeFileSync(limit, ANY) };
}

/** A file system that turned read-only, or a disk that breaks. */
function failingWrites(errno: "EROFS" | "EIO"): Storage {
  const shim: FsyncShim = compileFsyncShim(mkdtempSync(join(home, errno)), "agentbus.db");
  return {
    options: { env: shim.env },
    breaks: () => shim.failWrites(errno),
    mends: () => shim.failWrites(null),
  };
}

const connect = (gateway: RunningGateway): Promise<TestSocket> =>
  openSocket(gateway.ws_url, { headers: { authorization: `Bearer ${gateway.token}` } });

/** Writes until there is no socket any more; what was acknowledged, and the one that nobody knows about. */
async function writeUntilItEnds(gateway: RunningGateway, breaks: () => void) {
  const acknowledged: string[] = [];
  const socket = await connect(gateway);
  await socket.request("session.create", { session_id: "s" });
  model.reply().tokens(10_000, { everyMs: 5 });
  const { run_id } = await socket.request("chat.send", { session_id: "s", message: "go" });
  await socket.nextEvent("message.delta");
  for (let i = 0; ; i++) {
    const content = `${i}:${"x".repeat(BYTES)}`;
    if (i === 20) breaks();
    try {
      await socket.request("chat.inject", { session_id: "s", role: "user", content });
      acknowledged.push(content);
    } catch (error) {
      // Not refused: nobody says what became of it.
      expect(String(error)).toContain("the socket is closed");
      return { acknowledged, unknown: content, run_id, shown: socket.frames };
    }
  }
}

async function judge({ options, breaks, mends }: Storage): Promise<void> {
  const log = watchLog(EXPECTED);
  const config: ConfigTable = {
    limits: ANY_RATE,
    llm: {
      default_provider: "test",
      default_model: "test/model",
      providers: { test: { base_url: model.url() } },
    },
  };
  await using gateway = await startGateway({ config, ...options, heard: log.heard });
  log.secret(gateway.token);
  const { acknowledged, unknown, run_id, shown } = await writeUntilItEnds(gateway, breaks);
  expect(acknowledged.length).toBeGreaterThan(0);
  expect(await gateway.exited).not.toBe(0);
  expect(gateway.log.map(({ msg }) => msg)).toContain(
    "the outcome of a write is unknown: stopping so that nothing wrong is shown",
  );
  mends();
  await gateway.restart();
  await using socket = await connect(gateway);
  const messages = await allMessages(socket);
  const injected = messages.filter(({ role, content }) => role === "user" && content !== "go");
  const kept = injected.map(({ content }) => content);
  expect([acknowledged, [...acknowledged, unknown]]).toContainEqual(kept);
  // What was shown of the answer was stored, and the run has an end.
  const text = shown
    .filter(({ json }) => json.event === "message.delta")
    .map(({ json }) => json.payload.text)
    .join("");
  const answer = messages.find(({ role }) => role === "assistant")?.content ?? "";
  expect(answer.startsWith(text)).toBe(true);
  expect((await socket.request("run.get", { run_id })).status).toBe("interrupted");
  await socket.request("chat.inject", { session_id: "s", role: "user", content: "on it goes" });
  expect((await fetch(`${gateway.url}/ready`)).status).toBe(200);
  log.checkAll();
}

interface Said {
  readonly message_id: string;
  readonly role: string;
  readonly content: string;
}
async function allMessages(socket: TestSocket): Promise<Said[]> {
  const all: Said[] = [];
  for (let more = true; more;) {
    const before = all[0]?.message_id;
    const page = await socket.request("chat.history", {
      session_id: "s",
      limit: 1_000,
      ...(before !== undefined && { before }),
    });
    all.unshift(...page.messages);
    more = page.has_more;
  }
  return all;
}

test.skipIf(process.platform === "win32")("a file that may not grow", () => judge(limitedFiles()));

describe.skipIf(!(needs("cc", "gcc") && canShim()))("writes that fail", () => {
  test("because storage turned read-only", () => judge(failingWrites("EROFS")));
  test("because the disk breaks", () => judge(failingWrites("EIO")));
});
