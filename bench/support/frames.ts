import type { Socket } from "bun";

/** What is looked at of a frame: so many bytes of its payload are there when it is told. */
const LOOKED_AT_BYTES = 64;
const TEXT = 1;
const CLOSE = 8;
const PING = 9;

export interface FrameHandlers {
  /** A text frame begins at `at`; the first 64 bytes of its payload are there, or all of it. */
  begin(bytes: Uint8Array, at: number, length: number): void;
  /** All of it came. */
  end?(length: number): void;
}

export interface FrameSocket {
  send(text: string): void;
  close(): void;
  /** Why it is gone without having been closed here; null while it is not. */
  readonly lost: string | null;
}

/**
 * A WebSocket on a bare TCP socket that walks over frames without making strings of them: a client so cheap that a
 * thousand of them measure the server and not themselves.
 */
export async function openFrames(
  url: string,
  token: string | null,
  handlers: FrameHandlers,
): Promise<FrameSocket> {
  const { hostname, port, pathname, host } = new URL(url);
  const opening = Promise.withResolvers<void>();
  const state = { greeted: false, greeting: "", closed: false, lost: null as string | null };
  const walker = new Walker(handlers, (opcode) => {
    if (opcode === PING) socket.write(PONG);
    if (opcode === CLOSE) state.lost = "closed by the server";
  });

  function greet(bytes: Buffer): void {
    state.greeting += bytes.toString("latin1");
    const end = state.greeting.indexOf("\r\n\r\n");
    if (end < 0) return;
    if (!state.greeting.startsWith("HTTP/1.1 101")) {
      return opening.reject(new Error(`the upgrade was refused: ${state.greeting.slice(0, 300)}`));
    }
    state.greeted = true;
    opening.resolve();
    const rest = Buffer.from(state.greeting.slice(end + 4), "latin1");
    state.greeting = "";
    if (rest.length > 0) walker.walk(rest);
    return undefined;
  }

  const socket: Socket = await Bun.connect({
    hostname,
    port: Number(port),
    socket: {
      data: (_socket, bytes) => (state.greeted ? walker.walk(bytes) : greet(bytes)),
      close() {
        if (!state.closed) state.lost ??= "the connection was dropped";
        opening.reject(new Error("the connection was dropped"));
      },
      error(_socket, error) {
        state.lost ??= error.message;
      },
    },
  });
  const credential = token === null ? "" : `Authorization: Bearer ${token}\r\n`;
  socket.write(
    `GET ${pathname} HTTP/1.1\r\nHost: ${host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
      `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n${credential}\r\n`,
  );
  await opening.promise;

  return {
    send: (text) => void socket.write(masked(text)),
    close() {
      state.closed = true;
      socket.end();
    },
    get lost() {
      return state.lost;
    },
  };
}

/** A key of zeros masks nothing, and is as good as any. */
const PONG = new Uint8Array([0x8a, 0x80, 0, 0, 0, 0]);

function masked(text: string): Uint8Array {
  const payload = Buffer.from(text);
  const { length } = payload;
  if (length > 0xff_ff) throw new Error("a request of a frame socket has at most 64 KiB");
  const head = length < 126 ? [0x81, 0x80 | length] : [0x81, 0x80 | 126, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([...head, 0, 0, 0, 0]), payload]);
}

class Walker {
  readonly #handlers: FrameHandlers;
  readonly #control: (opcode: number) => void;
  /** The beginning of a frame of which not enough came. */
  #carry: Buffer | null = null;
  #left = 0;
  #length = 0;

  constructor(handlers: FrameHandlers, control: (opcode: number) => void) {
    this.#handlers = handlers;
    this.#control = control;
  }

  walk(came: Buffer): void {
    const bytes = this.#carry === null ? came : Buffer.concat([this.#carry, came]);
    this.#carry = null;
    let at = 0;
    while (at < bytes.length) {
      if (this.#left > 0) {
        const step = Math.min(this.#left, bytes.length - at);
        this.#left -= step;
        at += step;
        if (this.#left === 0) this.#handlers.end?.(this.#length);
        continue;
      }
      const payload = this.#open(bytes, at);
      if (payload < 0) {
        // Copied: the buffer of a socket is used again.
        this.#carry = Buffer.from(bytes.subarray(at));
        return;
      }
      at = payload;
    }
  }

  /** Where the payload of the frame at `at` begins; -1 where not enough of it came. */
  #open(bytes: Buffer, at: number): number {
    const there = bytes.length - at;
    if (there < 2) return -1;
    const short = (bytes[at + 1] ?? 0) & 0x7f;
    const head = short === 127 ? 10 : short === 126 ? 4 : 2;
    if (there < head) return -1;
    const length =
      short === 127 ? bytes.readUInt32BE(at + 6) : short === 126 ? bytes.readUInt16BE(at + 2) : short;
    if (there < head + Math.min(length, LOOKED_AT_BYTES)) return -1;
    const opcode = (bytes[at] ?? 0) & 0x0f;
    this.#length = length;
    this.#left = length;
    if (opcode === TEXT) this.#handlers.begin(bytes, at + head, length);
    else this.#control(opcode);
    return at + head;
  }
}

/** Where the name of an event begins: `{"type":"event","event":"`. */
const NAME_AT = 25;
const TYPE_AT = 9;

/** Whether the frame is the event with this name. */
export function isEvent(bytes: Uint8Array, at: number, name: string): boolean {
  if (bytes[at + TYPE_AT] !== 0x65) return false;
  for (let i = 0; i < name.length; i++) {
    if (bytes[at + NAME_AT + i] !== name.charCodeAt(i)) return false;
  }
  return true;
}

/** Whether the frame is a refusal: `{"type":"res","id":"s","ok":false`, the id being one letter. */
export function isRefusal(bytes: Uint8Array, at: number): boolean {
  return bytes[at + TYPE_AT] === 0x72 && bytes[at + 27] === 0x66;
}
