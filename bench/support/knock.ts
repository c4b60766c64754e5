import type { Socket } from "node:net";
import { connect } from "node:net";

/** Somebody at the door, on a bare TCP socket: as cheap as a client can be, and from any address of 127.0.0.0/8. */
export interface Knock {
  /** The status of the next HTTP answer, and its body; status 0: the socket is over. */
  answer(): Promise<{ readonly status: number; readonly body: string }>;
  /** The text of the next frame, once it is a WebSocket; null: closed, or over. */
  frame(): Promise<string | null>;
  write(text: string): void;
  /** Sends a frame. */
  send(text: string): void;
  /** Resets the connection. */
  leave(): void;
}

export interface Door {
  readonly host: string;
  readonly port: number;
}

export function doorOf(url: string): Door {
  const { hostname, port } = new URL(url);
  return { host: hostname, port: Number(port) };
}

/** The n-th of the addresses that are this machine, too. */
export function addressOf(n: number): string {
  return `127.${1 + (n >> 16)}.${(n >> 8) & 255}.${n & 255}`;
}

/** A GET of the socket's path with these headers. */
export function upgradeText({ host, port }: Door, headers: readonly string[]): string {
  return requestText({ host, port }, "GET /ws", [
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
    ...headers,
  ]);
}

export function requestText(
  { host, port }: Door,
  line: string,
  headers: readonly string[],
  body = "",
): string {
  const json =
    body === "" ? [] : ["Content-Type: application/json", `Content-Length: ${Buffer.byteLength(body)}`];
  return [`${line} HTTP/1.1`, `Host: ${host}:${port}`, ...json, ...headers, "", body].join("\r\n");
}

/** Resolves once it is connected. */
export async function knock(door: Door, from?: string): Promise<Knock> {
  const socket = connect({ ...door, ...(from !== undefined && { localAddress: from }) });
  const inbox = new Inbox(socket);
  await new Promise<void>((resolve, reject) => {
    socket.once("connect", resolve);
    socket.once("error", reject);
  });
  return {
    answer: () => inbox.answer(),
    frame: () => inbox.frame(),
    write: (text) => void socket.write(text),
    send: (text) => void socket.write(masked(text)),
    leave: () => void socket.resetAndDestroy(),
  };
}

/** What came and was not read yet. */
class Inbox {
  #bytes: Buffer = Buffer.alloc(0);
  #over = false;
  #wake: () => void = () => undefined;

  constructor(socket: Socket) {
    socket.on("data", (bytes: Buffer) => {
      this.#bytes = this.#bytes.length === 0 ? bytes : Buffer.concat([this.#bytes, bytes]);
      this.#wake();
    });
    const over = (): void => {
      this.#over = true;
      this.#wake();
    };
    socket.on("end", over);
    socket.on("close", over);
    // The close that follows says the same.
    socket.on("error", () => undefined);
  }

  async answer(): Promise<{ status: number; body: string }> {
    const head = await this.#until((bytes) => {
      const end = bytes.indexOf("\r\n\r\n");
      return end < 0 ? 0 : end + 4;
    });
    if (head === null) return { status: 0, body: "" };
    const text = head.toString("latin1");
    const length = Number(/^content-length: *(\d+)/im.exec(text)?.[1] ?? 0);
    const body = length === 0 ? null : await this.#until((bytes) => (bytes.length < length ? 0 : length));
    return { status: Number(text.split(" ", 2)[1]), body: body?.toString() ?? "" };
  }

  async frame(): Promise<string | null> {
    const frame = await this.#until(sizeOf);
    if (frame === null || ((frame[0] ?? 0) & 0x0f) !== TEXT) return null;
    return frame.subarray(headOf(frame)).toString();
  }

  /** Takes as many bytes as `size` says, once it says more than 0; null: it is over before. */
  async #until(size: (bytes: Buffer) => number): Promise<Buffer | null> {
    for (;;) {
      const wanted = size(this.#bytes);
      if (wanted > 0) {
        const taken = this.#bytes.subarray(0, wanted);
        this.#bytes = this.#bytes.subarray(wanted);
        return taken;
      }
      if (this.#over) return null;
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }
}

const TEXT = 1;

function headOf(bytes: Buffer): number {
  const length = bytes[1] ?? 0;
  return 2 + (length === 127 ? 8 : length === 126 ? 2 : 0);
}

/** Of a frame that a server sent: it is not masked. 0: it is not all there. */
function sizeOf(bytes: Buffer): number {
  if (bytes.length < 2 || bytes.length < headOf(bytes)) return 0;
  const short = bytes[1] ?? 0;
  const length =
    short === 127 ? Number(bytes.readBigUInt64BE(2)) : short === 126 ? bytes.readUInt16BE(2) : short;
  const size = headOf(bytes) + length;
  return bytes.length < size ? 0 : size;
}

/** A client's frame of text; the mask is all zeros. */
function masked(text: string): Buffer {
  const payload = Buffer.from(text);
  const short = payload.length < 126;
  const head = short ? Buffer.from([0x81, 0x80 | payload.length]) : Buffer.from([0x81, 0xfe, 0, 0]);
  if (!short) head.writeUInt16BE(payload.length, 2);
  return Buffer.concat([head, Buffer.alloc(4), payload]);
}
