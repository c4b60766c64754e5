import { connect as connectTls } from "node:tls";
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Arena } from "./beside.ts";
import { crowd, inTime, openArena, residentMib, until } from "./beside.ts";
import type { RawPeer, RawSocket } from "./raw-peer.ts";
import { dial, dialSocket, frame, head, TEXT } from "./raw-peer.ts";

/** Peers that do not finish what they begin. */

const JSON_BODY = { "Content-Type": "application/json" };
/** How long a head may take to be there; what is waited for in addition is a busy machine's. */
const HEAD_MS = 12_000;
const BODY_MS = 3_000;
/** All of the sockets that say nothing have to be there before the first of them is given up. */
const CONNECT_MS = 6_000;
const LATE_MS = 5_000;
const DRIP_MS = 250;
const SLOW = 50;

let arena: Arena;
/** With TLS. */
let secure: Arena;
/** Begun before everything else, because they take as long as they may. */
let heads: Slow;
let hellos: Slow;
let bodies: Slow;
beforeAll(async () => {
  const limits = { body_deadline_ms: BODY_MS, connect_deadline_ms: CONNECT_MS };
  arena = await openArena({ config: { limits, gateway: { heartbeat_interval_secs: 1 } } });
  secure = await openArena({ config: { server: { tls: { mode: "auto" } } } });
  heads = await startHeads();
  hellos = await startHellos();
  bodies = await startBodies();
});
afterAll(async () => {
  heads.stop();
  hellos.stop();
  await secure[Symbol.asyncDispose]();
  bodies.stop();
  await arena[Symbol.asyncDispose]();
});

const bearer = (): Record<string, string> => ({ Authorization: `Bearer ${arena.gateway.token}` });
const statusOf = (peer: RawPeer): string => peer.text.split(" ", 2)[1] ?? "";

/** Requests that come a little at a time, for as long as they are listened to. */
interface Slow {
  readonly peers: readonly RawPeer[];
  stop(): void;
}

function drip(peers: readonly RawPeer[], drop: string | null): Slow {
  const timer = setInterval(() => {
    for (const peer of peers) if (drop !== null && !peer.closed) void peer.write(drop);
  }, DRIP_MS);
  const stop = (): void => {
    clearInterval(timer);
    for (const peer of peers) peer[Symbol.dispose]();
  };
  return { peers, stop };
}

/** Heads that are not there yet: half of them go on, a header at a time. */
async function startHeads(): Promise<Slow> {
  const beginnings = [
    ["", "GET /hea"],
    [head("GET /health", arena.port), head("GET /ws", arena.port, bearer())],
  ];
  const [silent, talking] = await Promise.all(
    beginnings.map((texts) =>
      several(2 * SLOW, async (index) => {
        const peer = await dial(arena.port);
        const text = texts[index % texts.length] ?? "";
        if (text !== "") await peer.write(text);
        return peer;
      }),
    ),
  );
  const dripping = drip(talking ?? [], "X: a\r\n");
  const still = drip(silent ?? [], null);
  return {
    peers: [...dripping.peers, ...still.peers],
    stop: () => {
      dripping.stop();
      still.stop();
    },
  };
}

/** TLS that does not come to its end: silence, half a ClientHello, and nothing behind one. */
async function startHellos(): Promise<Slow> {
  const hello = await clientHello();
  const beginnings = [Buffer.alloc(0), hello.subarray(0, 100), hello];
  const peers = await several(beginnings.length * SLOW, async (index) => {
    const peer = await dial(secure.port);
    const bytes = beginnings[index % beginnings.length] ?? hello;
    if (bytes.length > 0) await peer.write(bytes);
    return peer;
  });
  return drip(peers, null);
}

/** What a client begins TLS with. */
async function clientHello(): Promise<Buffer> {
  const said = Promise.withResolvers<Buffer>();
  const listener = Bun.listen({
    hostname: "127.0.0.1",
    port: 0,
    socket: {
      data(socket, bytes) {
        said.resolve(Buffer.from(bytes));
        socket.end();
      },
    },
  });
  const client = connectTls({ host: "127.0.0.1", port: listener.port });
  client.on("error", () => undefined);
  const hello = await said.promise;
  client.destroy();
  listener.stop(true);
  return hello;
}

/** Bodies of which a byte comes at a time. */
async function startBodies(): Promise<Slow> {
  const request = head("POST /api/v1/sessions", arena.port, {
    ...JSON_BODY,
    ...bearer(),
    "Content-Length": "100000",
  });
  const peers = await several(SLOW, async () => {
    const peer = await dial(arena.port);
    await peer.write(`${request}\r\n{`);
    return peer;
  });
  return drip(peers, " ");
}

function several<T>(count: number, make: (index: number) => Promise<T>): Promise<T[]> {
  return Promise.all(Array.from({ length: count }, (_, index) => make(index)));
}

test("a body that drips is answered 408 after body_deadline_ms; without a credential it is refused at once", () =>
  arena.beside(async () => {
    const stranger = await dial(arena.port);
    const request = head("POST /api/v1/sessions", arena.port, { ...JSON_BODY, "Content-Length": "100000" });
    await stranger.write(`${request}\r\n{`);
    await until(() => stranger.bytes > 0, "the refusal");
    expect(statusOf(stranger)).toBe("401");
    stranger[Symbol.dispose]();
    await until(() => bodies.peers.every((peer) => peer.bytes > 0), "the answers", BODY_MS + LATE_MS);
    for (const peer of bodies.peers) {
      expect(statusOf(peer)).toBe("408");
      expect(peer.text).toContain("body_deadline_ms");
    }
  }));

describe("sockets that say nothing", () => {
  // Other addresses than 127.0.0.1 are there on Linux alone.
  test.skipIf(process.platform !== "linux")(
    "500 of them take 256 places, 8 for an address, until their deadline; who has a token comes in meanwhile",
    () =>
      arena.beside(async () => {
        const sockets: RawSocket[] = [];
        using opened = new DisposableStack();
        const began = performance.now();
        await crowd(500, 16, async (index) => {
          sockets.push(opened.use(await dialSocket(arena.port, {}, `127.0.1.${1 + Math.floor(index / 10)}`)));
        });
        inTime(performance.now() - began, CONNECT_MS, "to open them all");
        const [taken, refused] = [101, 503].map((status) =>
          sockets.filter(({ answer }) => answer.startsWith(`HTTP/1.1 ${status} `)),
        );
        expect([taken?.length, refused?.length]).toEqual([256, 244]);
        for (const { answer } of refused ?? []) expect(answer.toLowerCase()).toContain("retry-after: ");
        using known = await dialSocket(arena.port, bearer());
        expect(known.answer).toStartWith("HTTP/1.1 101 ");
        await Promise.all((taken ?? []).map((socket) => socket.over));
        for (const { heard, closed_ms } of taken ?? []) {
          expect(heard).toMatchObject([{ text: expect.stringContaining('"TIMEOUT"') }, { close: 4008 }]);
          expect(closed_ms).toBeLessThan(CONNECT_MS + LATE_MS);
        }
        using later = await dialSocket(arena.port);
        expect(later.answer).toStartWith("HTTP/1.1 101 ");
      }),
  );

  test("one that was let in and answers no ping is closed with 4008 after three of them", () =>
    arena.beside(async () => {
      const sockets = await several(SLOW, () => dialSocket(arena.port, bearer()));
      // Bare sockets: nobody answers their pings.
      await Promise.all(sockets.map((socket) => socket.over));
      for (const { heard } of sockets) expect(heard.at(-1)).toEqual({ close: 4008 });
    }));

  test("one that is reset in the middle of a frame leaves nothing behind", () =>
    arena.beside(async () => {
      const count = async (): Promise<number> => (await arena.call("system.status")).connections;
      const before = await count();
      await several(SLOW, async () => {
        using socket = await dialSocket(arena.port, bearer());
        await socket.write(frame({ opcode: TEXT, payload: "{", length: 100n }));
      });
      while ((await count()) > before) await Bun.sleep(10);
    }));
});

test("hundreds of bodies of strangers that do not come to their end are held by nobody", async () => {
  const { pid } = arena.gateway;
  const before = residentMib(pid);
  const request = head("POST /api/v1/hooks/nobody", arena.port, { "Content-Length": "1048576" });
  const peers = await several(300, async () => {
    const peer = await dial(arena.port);
    await peer.write(`${request}\r\n${"x".repeat(1_048_575)}`);
    return peer;
  });
  let most = 0;
  for (let i = 0; i < 10; i++) {
    most = Math.max(most, residentMib(pid));
    await Bun.sleep(100);
  }
  for (const peer of peers) peer[Symbol.dispose]();
  // What is held of one address, and as much again that nobody has swept up yet.
  expect(most - before).toBeLessThan(130);
  expect(peers.filter(({ text }) => text.includes(" 429 ")).length).toBeGreaterThan(0);
});

test("a head that does not come to its end is given up within 12 s, however it drips", () =>
  arena.beside(async () => {
    await Promise.all(heads.peers.map((peer) => peer.over));
    for (const peer of heads.peers) expect(peer.closed_ms).toBeLessThan(HEAD_MS + LATE_MS);
  }));

test("TLS that does not come to its end is given up in the same time, and what is no TLS at once", () =>
  secure.beside(async () => {
    await Promise.all(hellos.peers.map((peer) => peer.over));
    for (const peer of hellos.peers) expect(peer.closed_ms).toBeLessThan(HEAD_MS + LATE_MS);
    const alert = Buffer.from([21, 3, 3, 0, 2, 2, 40]);
    const junk = Buffer.concat([Buffer.from([22, 3, 1, 255, 255]), Buffer.alloc(1_000, 120)]);
    for (const bytes of [`${head("GET /health", secure.port)}\r\n`, junk, alert, Buffer.alloc(70_000)]) {
      using peer = await dial(secure.port);
      await peer.write(bytes);
      await peer.over;
      expect(peer.text).not.toContain("HTTP/");
      expect(peer.closed_ms).toBeLessThan(LATE_MS);
    }
    for (const version of ["TLSv1", "TLSv1.1"] as const) {
      const older = { host: "127.0.0.1", port: secure.port, minVersion: version, maxVersion: version };
      const refused = Promise.withResolvers<string>();
      const socket = connectTls({ ...older, rejectUnauthorized: false }, () => refused.resolve("let in"));
      socket.on("error", (error) => refused.resolve(String(error)));
      expect(await refused.promise).toMatch(/PROTOCOL_VERSION/);
      socket.destroy();
    }
  }));
