import { connect } from "node:net";

/** A WebSocket on a bare TCP socket: it answers no ping, and writes many frames at once. */
export interface RawSocket extends AsyncDisposable {
  /** Frames of text, oldest first. */
  // oxlint-disable-next-line typescript/no-explicit-any -- a test looks wherever it likes
  readonly frames: any[];
  /** Pings read. */
  readonly pings: number;
  /** The code of the close frame; null where the connection ended without one. */
  readonly closed: Promise<number | null>;
  /** Sends all in one piece. */
  write(...frames: unknown[]): void;
  /** Sends so many pings in one piece. */
  ping(times: number): void;
}

const TEXT = 1;
const CLOSE = 8;
const PING = 9;
/** Masked, with nothing in it. */
const EMPTY_PING = Buffer.from([0x89, 0x80, 0, 0, 0, 0]);

/** Resolves once the upgrade was answered with 101. */
export async function openRaw(address: string, token: string): Promise<RawSocket> {
  const [host = "", port = ""] = address.split(":");
  const socket = connect(Number(port), host);
  const state = { frames: [] as unknown[], pings: 0, code: null as number | null, input: Buffer.alloc(0) };
  const opened = Promise.withResolvers<void>();
  const closed = Promise.withResolvers<number | null>();
  let upgraded = false;
  socket.on("data", (bytes: Buffer) => {
    state.input = Buffer.concat([state.input, bytes]);
    if (!upgraded) {
      const end = state.input.indexOf("\r\n\r\n");
      if (end === -1) return;
      const head = state.input.subarray(0, end).toString();
      state.input = state.input.subarray(end + 4);
      upgraded = true;
      if (head.startsWith("HTTP/1.1 101")) opened.resolve();
      else opened.reject(new Error(head));
    }
    take(state);
  });
  socket.on("error", (error) => opened.reject(error));
  socket.on("close", () => closed.resolve(state.code));
  const lines = [
    "GET /ws HTTP/1.1",
    `Host: ${address}`,
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
    `Authorization: Bearer ${token}`,
  ];
  socket.write(`${lines.join("\r\n")}\r\n\r\n`);
  await opened.promise;
  return {
    frames: state.frames,
    get pings() {
      return state.pings;
    },
    closed: closed.promise,
    write: (...frames) =>
      void socket.write(Buffer.concat(frames.map((frame) => masked(JSON.stringify(frame))))),
    ping: (times) => void socket.write(Buffer.concat(Array.from({ length: times }, () => EMPTY_PING))),
    async [Symbol.asyncDispose]() {
      socket.destroy();
      await closed.promise;
    },
  };
}

/** A client's frame of text; the mask is all zeros. */
function masked(text: string): Buffer {
  const payload = Buffer.from(text);
  const head =
    payload.length < 126 ? Buffer.from([0x81, 0x80 | payload.length]) : Buffer.from([0x81, 0xfe, 0, 0]);
  if (payload.length >= 126) head.writeUInt16BE(payload.length, 2);
  return Buffer.concat([head, Buffer.alloc(4), payload]);
}

/** Reads every whole frame of the input; a server's are not masked. */
function take(state: { frames: unknown[]; pings: number; code: number | null; input: Buffer }): void {
  for (;;) {
    const { input } = state;
    const [first, second] = input;
    if (first === undefined || second === undefined) return;
    const wide = second === 127 ? 8 : second === 126 ? 2 : 0;
    if (input.length < 2 + wide) return;
    const length =
      wide === 8 ? Number(input.readBigUInt64BE(2)) : wide === 2 ? input.readUInt16BE(2) : second;
    const end = 2 + wide + length;
    if (input.length < end) return;
    const payload = input.subarray(2 + wide, end);
    state.input = input.subarray(end);
    const kind = first & 0x0f;
    if (kind === TEXT) state.frames.push(JSON.parse(payload.toString()));
    else if (kind === PING) state.pings++;
    else if (kind === CLOSE) state.code = payload.length >= 2 ? payload.readUInt16BE(0) : 1005;
  }
}
