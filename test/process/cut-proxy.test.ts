import type { Socket } from "bun";
import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Cut, CutProxy } from "../support/cut-proxy.ts";
import { startCutProxy } from "../support/cut-proxy.ts";

/** Says `size` bytes to whoever comes and counts what it is told. */
interface Peer {
  received: number;
  left: boolean;
}
const peers: Peer[] = [];
const SIZE = 64 * 1_024;
const WORDS = Buffer.alloc(SIZE, "0123456789");
let address = "";
let stop = (): void => undefined;

beforeAll(() => {
  const pour = (socket: Socket<{ peer: Peer; sent: number }>): void => {
    socket.data.sent += Math.max(0, socket.write(WORDS.subarray(socket.data.sent)));
  };
  const server = Bun.listen<{ peer: Peer; sent: number }>({
    hostname: "127.0.0.1",
    port: 0,
    socket: {
      open(socket) {
        const peer = { received: 0, left: false };
        peers.push(peer);
        socket.data = { peer, sent: 0 };
        pour(socket);
      },
      data: (socket, bytes) => void (socket.data.peer.received += bytes.length),
      drain: pour,
      close: (socket) => void (socket.data.peer.left = true),
    },
  });
  address = `127.0.0.1:${server.port}`;
  stop = () => server.stop(true);
});
afterAll(() => stop());

interface Client {
  readonly text: () => string;
  /** "end", "reset", once it is over. */
  readonly over: Promise<string>;
  readonly received: (bytes: number) => Promise<void>;
  readonly socket: Socket;
}

async function connect(proxy: CutProxy, say = ""): Promise<Client> {
  const [hostname = "", port = ""] = proxy.address.split(":");
  const chunks: Buffer[] = [];
  let size = 0;
  const over = Promise.withResolvers<string>();
  const waits: { bytes: number; resolve: () => void }[] = [];
  const socket = await Bun.connect({
    hostname,
    port: Number(port),
    socket: {
      data(_socket, bytes) {
        chunks.push(Buffer.from(bytes));
        size += bytes.length;
        for (const wait of waits) if (size >= wait.bytes) wait.resolve();
      },
      close: (_socket, error) => over.resolve(error === undefined ? "end" : "reset"),
      error: () => over.resolve("reset"),
    },
  });
  if (say !== "") socket.write(say);
  return {
    text: () => Buffer.concat(chunks).toString(),
    over: over.promise,
    received: (bytes) =>
      new Promise((resolve) => {
        waits.push({ bytes, resolve });
        if (size >= bytes) resolve();
      }),
    socket,
  };
}

function cutting(...cuts: Cut[]): CutProxy {
  return startCutProxy({ target: () => address, plan: (n) => cuts[n] ?? null });
}

test("a connection without a cut passes everything, both ways", async () => {
  await using proxy = cutting();
  const client = await connect(proxy, "x".repeat(1_000));
  await client.received(SIZE);
  expect(client.text()).toBe(WORDS.toString());
  const peer = peers.at(-1);
  client.socket.end();
  while (peer?.left !== true) await Bun.sleep(1);
  expect(peer.received).toBe(1_000);
  expect({ connections: proxy.connections, cuts: proxy.cuts }).toEqual({ connections: 1, cuts: 0 });
});

test("a close is a FIN after the very byte, and the next connection passes", async () => {
  await using proxy = cutting({ kind: "close", side: "down", after_bytes: 12_345 });
  const first = await connect(proxy);
  expect(await first.over).toBe("end");
  expect(first.text()).toBe(WORDS.toString().slice(0, 12_345));
  const second = await connect(proxy);
  await second.received(SIZE);
  expect(proxy.cuts).toBe(1);
});

test("a reset reaches both sides", async () => {
  await using proxy = cutting({ kind: "reset", side: "up", after_bytes: 10 });
  const client = await connect(proxy, "x".repeat(100));
  expect(await client.over).toBe("reset");
  const peer = peers.at(-1);
  while (peer?.left !== true) await Bun.sleep(1);
  expect(peer.received).toBeLessThanOrEqual(10);
});

test("a stall stops the bytes and tells nobody; the peer goes with the client", async () => {
  await using proxy = cutting({ kind: "stall", side: "down", after_bytes: 500 });
  const client = await connect(proxy);
  await client.received(500);
  const peer = peers.at(-1);
  const first = await Promise.race([client.over, Bun.sleep(50).then(() => "nothing")]);
  expect({ first, left: peer?.left, length: client.text().length }).toEqual({
    first: "nothing",
    left: false,
    length: 500,
  });
  client.socket.terminate();
  while (peer?.left !== true) await Bun.sleep(1);
});

test("an orphan is left alone: its client is reset, its peer is not told", async () => {
  await using proxy = cutting({ kind: "orphan", side: "down", after_bytes: 500 });
  const client = await connect(proxy);
  expect(await client.over).toBe("reset");
  const peer = peers.at(-1);
  const second = await connect(proxy);
  await second.received(SIZE);
  expect(peer?.left).toBe(false);
  proxy.stop();
  while (peer?.left !== true) await Bun.sleep(1);
});

test("a throttled connection passes so many bytes a second; 0 holds it, and all of it comes after", async () => {
  await using proxy = cutting();
  proxy.throttle(64 * 1_024);
  const began = performance.now();
  const client = await connect(proxy);
  await client.received(SIZE / 2);
  const took = performance.now() - began;
  expect(took).toBeGreaterThan(400);
  expect(took).toBeLessThan(2_000);
  proxy.throttle(0);
  const held = client.text().length;
  await Bun.sleep(60);
  expect(client.text().length).toBe(held);
  proxy.throttle(Number.POSITIVE_INFINITY);
  await client.received(SIZE);
  expect(client.text()).toBe(WORDS.toString());
});
