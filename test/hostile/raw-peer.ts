import type { Socket } from "node:net";
import { connect } from "node:net";

/** What is kept of what came; more is counted and dropped. */
const KEPT_BYTES = 1024 * 1024;

/** A TCP connection that says what it is told, byte for byte, and reads only as long as it likes. */
export interface RawPeer extends Disposable {
  /** What came, the first MiB of it. */
  readonly received: Buffer;
  /** The same, a character per byte. */
  readonly text: string;
  /** Bytes that came in all. */
  readonly bytes: number;
  /** Milliseconds from the dial to the end; NaN: it is open. */
  readonly closed_ms: number;
  readonly closed: boolean;
  /** Resolves when it is over, whoever ended it. */
  readonly over: Promise<void>;
  /** Resolves once the bytes have left this process, or the connection is over. */
  write(data: string | Uint8Array): Promise<void>;
  pause(): void;
  resume(): void;
  /** Gives what comes from now on to `each`, too. */
  listen(each: (bytes: Buffer) => void): void;
}

/** Resolves once it is connected. `from` is a local address: all of 127.0.0.0/8 is there on Linux. */
export async function dial(port: number, from?: string): Promise<RawPeer> {
  const began = performance.now();
  const socket = connect({ host: "127.0.0.1", port, ...(from !== undefined && { localAddress: from }) });
  socket.setMaxListeners(0);
  const pieces: Buffer[] = [];
  const over = Promise.withResolvers<void>();
  let bytes = 0;
  let closed_ms = Number.NaN;
  socket.on("data", (piece: Buffer) => {
    if (bytes < KEPT_BYTES) pieces.push(piece);
    bytes += piece.length;
  });
  socket.on("close", () => {
    closed_ms = performance.now() - began;
    over.resolve();
  });
  // The close that follows says the same.
  socket.on("error", () => undefined);
  await connected(socket);
  return {
    get received() {
      return Buffer.concat(pieces);
    },
    get text() {
      return Buffer.concat(pieces).toString("latin1");
    },
    get bytes() {
      return bytes;
    },
    get closed_ms() {
      return closed_ms;
    },
    get closed() {
      return !Number.isNaN(closed_ms);
    },
    over: over.promise,
    async write(data) {
      if (socket.destroyed || socket.write(data)) return;
      const drained = Promise.withResolvers<void>();
      socket.once("drain", drained.resolve);
      await Promise.race([drained.promise, over.promise]);
      socket.off("drain", drained.resolve);
    },
    pause: () => void socket.pause(),
    resume: () => void socket.resume(),
    listen: (each) => void socket.on("data", each),
    [Symbol.dispose]: () => void socket.destroy(),
  };
}

function connected(socket: Socket): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once("connect", resolve);
    socket.once("close", () => reject(new Error("the connection was refused")));
  });
}

/** The head of a request, without the empty line behind it. */
export function head(line: string, port: number, headers: Record<string, string> = {}): string {
  const all = { Host: `127.0.0.1:${port}`, ...headers };
  return `${line} HTTP/1.1\r\n${Object.entries(all)
    .map(([name, value]) => `${name}: ${value}\r\n`)
    .join("")}`;
}

export interface FrameParts {
  readonly opcode: number;
  readonly payload?: string | Uint8Array;
  /** Default true. */
  readonly fin?: boolean;
  /** The three reserved bits. */
  readonly rsv?: number;
  /** Default true. */
  readonly masked?: boolean;
  /** What the header says the length is, whatever follows. */
  readonly length?: bigint;
}

export const TEXT = 1;
export const BINARY = 2;
export const CONTINUATION = 0;
export const CLOSE = 8;
export const PING = 9;
export const PONG = 10;

/** A WebSocket frame as a client sends it, or as none should. The mask is zero, so that the payload stays as it is. */
export function frame(parts: FrameParts): Buffer {
  const { opcode, fin = true, rsv = 0, masked = true } = parts;
  const payload = Buffer.from(parts.payload ?? "");
  const length = parts.length ?? BigInt(payload.length);
  const first = (fin ? 0x80 : 0) | (rsv << 4) | opcode;
  const mask = masked ? 0x80 : 0;
  const size = length < 126n ? 2 : length < 65_536n ? 4 : 10;
  const header = Buffer.alloc(size);
  header[0] = first;
  header[1] = mask | (size === 2 ? Number(length) : size === 4 ? 126 : 127);
  if (size === 4) header.writeUInt16BE(Number(length), 2);
  if (size === 10) header.writeBigUInt64BE(length, 2);
  return Buffer.concat([header, Buffer.alloc(masked ? 4 : 0), payload]);
}

/** A frame of the gateway: a text, or the code of a close. */
export type Heard = { readonly text: string } | { readonly close: number };

export interface RawSocket extends RawPeer {
  /** The head of the answer to the upgrade. */
  readonly answer: string;
  /** Texts and the close so far, oldest first. */
  readonly heard: Heard[];
}

/** A request to become a socket, to its end. */
export function upgradeHead(port: number, headers: Record<string, string> = {}): string {
  const upgrade = {
    Upgrade: "websocket",
    Connection: "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    ...headers,
  };
  return `${head("GET /ws", port, upgrade)}\r\n`;
}

/** Upgrades a bare connection. Resolves with the answer, 101 or not. */
export async function dialSocket(
  port: number,
  headers: Record<string, string> = {},
  from?: string,
): Promise<RawSocket> {
  const peer = await dial(port, from);
  await peer.write(upgradeHead(port, headers));
  while (!peer.received.includes("\r\n\r\n") && !peer.closed) await Bun.sleep(1);
  const { received } = peer;
  const end = received.indexOf("\r\n\r\n") + 4;
  const answer = received.toString("latin1", 0, end);
  return Object.defineProperties(peer as RawPeer & { answer: string; heard: Heard[] }, {
    answer: { value: answer },
    heard: { get: () => readFrames(peer.received.subarray(end)) },
  });
}

function readFrames(bytes: Buffer): Heard[] {
  const heard: Heard[] = [];
  let at = 0;
  while (at + 2 <= bytes.length) {
    const opcode = bytes.readUInt8(at) & 15;
    const short = bytes.readUInt8(at + 1) & 127;
    const size = short === 126 ? 4 : short === 127 ? 10 : 2;
    if (at + size > bytes.length) break;
    const length =
      size === 2 ? short : size === 4 ? bytes.readUInt16BE(at + 2) : Number(bytes.readBigUInt64BE(at + 2));
    const payload = bytes.subarray(at + size, at + size + length);
    if (payload.length < length) break;
    if (opcode === TEXT) heard.push({ text: payload.toString("utf8") });
    if (opcode === CLOSE) heard.push({ close: length >= 2 ? payload.readUInt16BE(0) : 1005 });
    at += size + length;
  }
  return heard;
}
