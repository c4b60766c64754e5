import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { FsyncShim, SyncCall } from "../support/fsync-shim.ts";
import { canShim, compileFsyncShim } from "../support/fsync-shim.ts";
import type { RunningGateway } from "../support/gateway-process.ts";
import { startGateway } from "../support/gateway-process.ts";
import { startModelServer } from "../support/model-server.ts";
import { needs } from "../support/needs.ts";
import type { TestSocket } from "../support/ws-client.ts";
import { openSocket } from "../support/ws-client.ts";

const MATCH = "agentbus.db";
const here = needs("cc", "gcc") && canShim();

describe.skipIf(!here)("the disk", () => {
  let home: string;
  let shim: FsyncShim;
  beforeAll(() => {
    home = mkdtempSync(join(tmpdir(), "agentbus-disk-"));
    shim = compileFsyncShim(home, MATCH);
  });
  afterEach(() => {
    shim.delay(0);
    shim.failSync(null);
    shim.failWrites(null);
  });
  afterAll(() => rmSync(home, { recursive: true, force: true }));

  async function start(
    durability: "full" | "normal",
    env: Record<string, string> = {},
  ): Promise<RunningGateway> {
    return startGateway({ env: { ...shim.env, AGENTBUS_STORAGE_DURABILITY: durability, ...env } });
  }
  const connect = (gateway: RunningGateway): Promise<TestSocket> =>
    openSocket(gateway.ws_url, { headers: { authorization: `Bearer ${gateway.token}` } });
  const since = (count: number): SyncCall[] => shim.calls().slice(count);
  const clock = (): number => Date.now();

  test("full: no answer to a command leaves before an fsync that began after its request was sent", async () => {
    shim.delay(20);
    await using gateway = await start("full");
    await using socket = await connect(gateway);
    await socket.request("session.create", { session_id: "s" });
    for (let i = 0; i < 20; i++) {
      const before = shim.calls().length;
      const sent = clock();
      await socket.request("chat.inject", { session_id: "s", role: "user", content: `m${i}` });
      const answered = clock();
      const ended = since(before).filter((call) => call.at_ms >= sent && call.errno === 0);
      expect(ended.length).toBeGreaterThanOrEqual(1);
      // The sync took 20 ms and the answer came behind it.
      expect(answered - sent).toBeGreaterThanOrEqual(20);
    }
  });

  test("full: concurrent commands share their fsyncs", async () => {
    shim.delay(20);
    await using gateway = await start("full");
    const sockets = await Promise.all(Array.from({ length: 10 }, () => connect(gateway)));
    await sockets[0]?.request("session.create", { session_id: "s" });
    const before = shim.calls().length;
    await Promise.all(
      sockets.flatMap((socket) =>
        Array.from({ length: 10 }, (_, i) =>
          socket.request("chat.inject", { session_id: "s", role: "user", content: `m${i}` }),
        ),
      ),
    );
    expect(since(before).length).toBeLessThan(40);
    for (const socket of sockets) socket.close();
  });

  test("deltas cause no fsync of their own; a run costs the same few however long it speaks", async () => {
    shim.delay(0);
    await using model = await startModelServer();
    await using gateway = await start("full", {
      AGENTBUS_LLM_PROVIDERS_TEST_BASE_URL: model.url(),
      AGENTBUS_LLM_DEFAULT_PROVIDER: "test",
      AGENTBUS_LLM_DEFAULT_MODEL: "fake-1",
    });
    await using socket = await connect(gateway);
    const cost = async (tokens: number): Promise<{ syncs: number; deltas: number }> => {
      model.reply().tokens(tokens, { everyMs: 30 }).finish("stop");
      const before = shim.calls().length;
      const frames = socket.frames.length;
      await socket.request("chat.send", { session_id: "s", message: "go" });
      await socket.nextEvent("run.completed", 15_000);
      const deltas = socket.frames.slice(frames).filter(({ json }) => json.event === "message.delta").length;
      return { syncs: since(before).length, deltas };
    };
    await cost(1);
    const short = await cost(2);
    const long = await cost(60);
    expect(long.deltas).toBeGreaterThan(short.deltas + 20);
    expect(long.syncs).toBeLessThanOrEqual(short.syncs + 2);
  });

  test("normal: commands wait for no fsync, and cause one a megabyte", async () => {
    await using gateway = await start("normal");
    await using socket = await connect(gateway);
    await socket.request("session.create", { session_id: "s" });
    const say = async (): Promise<void> => {
      for (let i = 0; i < 50; i++)
        await socket.request("chat.inject", { session_id: "s", role: "user", content: `m${i}` });
    };
    const before = shim.calls().length;
    await say();
    expect(since(before).length).toBeLessThanOrEqual(5);
    const SLOW_MS = 5_000;
    shim.delay(SLOW_MS);
    const began = performance.now();
    await say();
    expect(performance.now() - began).toBeLessThan(SLOW_MS);
    shim.delay(0);
  });

  test("the event loop does not wait for a disk that takes 20 ms: requests that write nothing stay fast", async () => {
    shim.delay(20);
    await using gateway = await start("full");
    await using writer = await connect(gateway);
    await using reader = await connect(gateway);
    await writer.request("session.create", { session_id: "s" });
    let writing = true;
    const writes = (async () => {
      for (let i = 0; writing; i++) {
        await writer.request("chat.inject", { session_id: "s", role: "user", content: `m${i}` });
      }
    })();
    const took: number[] = [];
    for (let i = 0; i < 300; i++) {
      const from = performance.now();
      await reader.request("heartbeat");
      took.push(performance.now() - from);
    }
    writing = false;
    await writes;
    took.sort((a, b) => a - b);
    expect(took[Math.floor(took.length * 0.99)]).toBeLessThan(10 * 5);
    // With the loop behind every sync the median would be half of 20 ms.
    expect(took[Math.floor(took.length / 2)]).toBeLessThan(5);
  });

  test("a disk that is full: commands say so, /ready is 503, and it goes on where it stopped", async () => {
    await using model = await startModelServer();
    await using gateway = await start("full", {
      AGENTBUS_LLM_PROVIDERS_TEST_BASE_URL: model.url(),
      AGENTBUS_LLM_DEFAULT_PROVIDER: "test",
      AGENTBUS_LLM_DEFAULT_MODEL: "fake-1",
    });
    await using socket = await connect(gateway);
    model.reply().tokens(60, { everyMs: 20 }).finish("stop");
    await socket.request("chat.send", { session_id: "s", message: "go" });
    await socket.nextEvent("message.delta");
    shim.failWrites("ENOSPC");
    let refused: unknown = null;
    while (refused === null) {
      refused = await socket
        .request("chat.inject", { session_id: "s", role: "user", content: "x" })
        .then(() => null)
        .catch((error: { code: string }) => (error.code === "UNAVAILABLE" ? error : null));
    }
    expect(refused).toMatchObject({ code: "UNAVAILABLE", details: { kind: "storage" } });
    expect((await fetch(`${gateway.url}/ready`)).status).toBe(503);
    shim.failWrites(null);
    await socket.nextEvent("run.completed", 20_000);
    const text = socket.frames
      .filter(({ json }) => json.event === "message.delta")
      .map(({ json }) => json.payload.text)
      .join("");
    expect(text.trim()).toBe(Array.from({ length: 60 }, (_, i) => `t${i}`).join(" "));
    expect((await fetch(`${gateway.url}/ready`)).status).toBe(200);
  });

  test("an fsync that fails ends the process: nothing is acknowledged, and the next start draws new epochs", async () => {
    await using gateway = await start("full");
    const socket = await connect(gateway);
    const { epoch } = await socket.request("session.create", { session_id: "s" });
    shim.failSync("EIO");
    const answer = await socket
      .request("chat.inject", { session_id: "s", role: "user", content: "lost?" })
      .then(() => "acknowledged")
      .catch(() => "not acknowledged");
    expect(answer).toBe("not acknowledged");
    expect(await gateway.exited).toBe(1);
    shim.failSync(null);
    await gateway.restart();
    await using again = await connect(gateway);
    const opening = await again.request("session.subscribe", { session_id: "s" });
    expect(opening.snapshot.messages.length).toBeLessThanOrEqual(1);
    expect(epoch).toMatch(/^[a-z0-9]{8}$/);
  });
});
