import { describe, expect, test } from "bun:test";
import { connect } from "node:net";
import type { Socket } from "node:net";
import { manualClock } from "../support/clock.ts";
import { startCutProxy } from "../support/cut-proxy.ts";
import type { Script } from "../support/engine.ts";
import { until } from "../support/engine.ts";
import { openEvents } from "../support/sse-client.ts";
import type { TestHttp } from "./http.fixture.ts";
import { bearer, startHttp } from "./http.fixture.ts";

const KIB = 1024;

/** A reader on a bare socket, which reads only when it is told to. */
interface RawReader {
  readonly socket: Socket;
  /** Bytes read. */
  readonly read: number;
  readonly text: string;
  readonly closed: boolean;
}

async function rawReader(at: TestHttp, session_id: string, headers = ""): Promise<RawReader> {
  const { hostname, port } = new URL(at.url);
  const socket = connect(Number(port), hostname);
  const state = { socket, read: 0, text: "", closed: false };
  socket.on("data", (bytes) => {
    state.read += bytes.length;
    state.text = (state.text + bytes.toString("latin1")).slice(-2 * KIB);
  });
  socket.on("error", () => undefined);
  socket.on("close", () => (state.closed = true));
  const before = at.context.connections.size;
  const authorization = "Authorization: Bearer owner\r\n";
  socket.write(
    `GET /api/v1/sessions/${session_id}/events HTTP/1.1\r\nHost: localhost:${port}\r\n${authorization}${headers}\r\n`,
  );
  await until(() => state.read > 0 && at.context.connections.size > before);
  return state;
}

async function inject(at: TestHttp, session_id: string, count: number, bytes = 100 * KIB): Promise<void> {
  for (let i = 0; i < count; i++) {
    const content = `${i}:${"x".repeat(bytes)}`;
    const { status } = await at.ask("POST", "/api/v1/rpc/chat.inject", {
      body: { session_id, role: "user", content },
    });
    expect(status).toBe(200);
  }
}

describe("a reader that does not read", () => {
  test("is ended once more than 1 MiB waits for it, and nobody else notices", async () => {
    await using at = await startHttp();
    await at.ask("POST", "/api/v1/sessions", { body: { session_id: "s1" } });
    const healthy = await openEvents(`${at.url}/api/v1/sessions/s1/events`, { headers: bearer("owner") });
    await healthy.next((event) => event.event === "session.synced");
    const slow = await rawReader(at, "s1");
    await until(() => slow.text.includes("session.synced"));
    slow.socket.pause();
    const messages = 100;
    let most = 0;
    const watched = setInterval(() => {
      for (const each of at.context.connections.all()) most = Math.max(most, each.buffered());
    }, 1);
    const reading = (async () => {
      for (let i = 0; i < messages; i++) await healthy.next((event) => event.event === "message.created");
    })();
    await inject(at, "s1", messages);
    await reading;
    clearInterval(watched);
    expect(at.counted.slow).toBe(1);
    expect(at.context.connections.size).toBe(1);
    // It was our queue that told, and it held little more than the bound.
    expect(most).toBeLessThan(1.5 * KIB * KIB);
    // The socket was cut: a peaceful end would wait for a peer that may never read.
    slow.socket.resume();
    await until(() => slow.closed);
    expect(slow.text).not.toEndWith("0\r\n\r\n");
    healthy.close();
  });

  test("with less than that, when it has taken nothing for 15 s", async () => {
    const clock = manualClock();
    await using at = await startHttp({ clock });
    await at.ask("POST", "/api/v1/sessions", { body: { session_id: "s1" } });
    const slow = await rawReader(at, "s1");
    await until(() => slow.text.includes("session.synced"));
    slow.socket.pause();
    const [connection] = at.context.connections.all();
    while ((connection?.buffered() ?? 0) <= 64 * KIB) await inject(at, "s1", 1);
    expect(connection?.buffered()).toBeLessThan(1_000 * KIB);
    clock.advance(15_000);
    expect(at.counted.slow).toBe(0);
    clock.advance(1_000);
    expect([at.counted.slow, connection?.closed]).toEqual([1, true]);
    slow.socket.resume();
    await until(() => slow.closed);
  });

  test("may wait for ever with little", async () => {
    const clock = manualClock();
    await using at = await startHttp({ clock });
    await at.ask("POST", "/api/v1/sessions", { body: { session_id: "s1" } });
    const quiet = await rawReader(at, "s1");
    await until(() => quiet.text.includes("session.synced"));
    clock.advance(600_000);
    await at.ask("POST", "/api/v1/rpc/event.broadcast", { body: { event: "app.still", payload: {} } });
    await until(() => quiet.text.includes("app.still"));
    expect([at.counted.slow, quiet.closed]).toEqual([0, false]);
    quiet.socket.destroy();
  });
});

/** An answer of 500 KiB that does not end; as JSON every character of it is two. */
const endless: Script = async function* (_request, signal) {
  for (let i = 0; i < 10; i++) yield { type: "text", text: "\n".repeat(50 * KIB) };
  await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
  yield { type: "aborted" };
};

describe("a reader that takes its time", () => {
  test("gets a snapshot that is larger than all that may wait", async () => {
    await using at = await startHttp({ script: endless });
    const { run_id } = await at.send("s1");
    const written = async (): Promise<number> =>
      (await at.ask("GET", "/api/v1/sessions/s1/messages")).body.messages.at(-1).content.length;
    while ((await written()) < 500 * KIB);
    const proxy = startCutProxy({ target: () => new URL(at.url).host, narrow: true });
    const reader = await openEvents(`http://${proxy.address}/api/v1/sessions/s1/events`, {
      headers: { ...bearer("owner"), host: new URL(at.url).host },
    });
    const snapshot = await reader.next((event) => event.event === "session.snapshot");
    expect(snapshot.data.length).toBeGreaterThan(2_000 * KIB);
    await reader.next((event) => event.event === "session.synced");
    expect(at.counted.slow).toBe(0);
    await at.ask("POST", "/api/v1/rpc/chat.abort", { body: { run_id } });
    reader.close();
    proxy.stop();
  });

  test("gets a long log page by page, and is there in the end", async () => {
    await using at = await startHttp();
    await at.ask("POST", "/api/v1/sessions", { body: { session_id: "s1" } });
    await inject(at, "s1", 80);
    const { epoch } = (await at.ask("GET", "/api/v1/sessions/s1")).body;
    const slow = await rawReader(at, "s1", `Last-Event-ID: ${epoch}.1\r\n`);
    const [connection] = at.context.connections.all();
    slow.socket.pause();
    // It is caught up as far as its socket has room; the rest stays in the log, not in memory.
    await until(() => (connection?.buffered() ?? 0) >= 64 * KIB);
    expect(connection?.buffered()).toBeLessThan(300 * KIB);
    let most = 0;
    while (!slow.text.includes("session.synced")) {
      const before = slow.read;
      slow.socket.resume();
      await until(() => slow.read > before);
      slow.socket.pause();
      most = Math.max(most, connection?.buffered() ?? 0);
    }
    expect(most).toBeLessThan(300 * KIB);
    expect(slow.read).toBeGreaterThan(80 * 100 * KIB);
    expect(at.counted.slow).toBe(0);
    slow.socket.destroy();
  });
});
