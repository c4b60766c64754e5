import type { Socket } from "bun";

/**
 * A small HTTP/1.1 server on bare sockets: what a test needs to misbehave below HTTP (a reset, a stall before the
 * status line, a body that ends too early), which `Bun.serve` does not let through.
 */
export interface RawHttp {
  readonly port: number;
  /** Sockets so far. */
  readonly accepted: number;
  /** Closes the listener and resets every socket. */
  stop(): void;
}

export interface RawRequest {
  readonly method: string;
  readonly path: string;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

export interface RawResponse {
  /** Status line and headers of a chunked answer. */
  head(status: number, headers: Record<string, string>): void;
  /** One chunk. */
  write(text: string): void;
  /** Whether the peer took all that was written. */
  readonly drained: boolean;
  /** The end of a chunked answer; the socket stays for the next request. */
  end(): void;
  /** A whole answer at once. */
  send(status: number, headers: Record<string, string>, body: string): void;
  /** RST. */
  reset(): void;
  /** FIN in the middle of the answer. */
  drop(): void;
  /** Whether nothing can be written any more: ended, reset, or left by the peer. */
  readonly closed: boolean;
}

/** Called when the peer goes before its answer has ended. */
export type Left = () => void;

interface Peer {
  input: string;
  readonly output: Buffer[];
  /** Null while no answer is being written. */
  left: Left | null;
}

export function listenHttp(
  options: { hostname: string; port: number },
  answer: (request: RawRequest, response: RawResponse) => Left,
): RawHttp {
  const sockets = new Set<Socket<Peer>>();
  let accepted = 0;
  const listener = Bun.listen<Peer>({
    ...options,
    socket: {
      open(socket) {
        socket.data = { input: "", output: [], left: null };
        sockets.add(socket);
        accepted++;
      },
      data(socket, bytes) {
        // Latin-1 keeps bytes and units one to one, so content-length can be counted in units.
        socket.data.input += bytes.toString("latin1");
        const parsed = parse(socket.data.input);
        if (parsed === null) return;
        socket.data.input = parsed.rest;
        const response = new SocketResponse(socket);
        const left = answer(parsed.request, response);
        if (!response.closed) socket.data.left = left;
      },
      drain: flush,
      error: (socket) => socket.terminate(),
      close(socket) {
        sockets.delete(socket);
        socket.data.left?.();
        socket.data.left = null;
      },
    },
  });
  return {
    port: listener.port,
    get accepted() {
      return accepted;
    },
    stop() {
      listener.stop();
      for (const socket of sockets) socket.terminate();
    },
  };
}

class SocketResponse implements RawResponse {
  readonly #socket: Socket<Peer>;
  #closed = false;

  constructor(socket: Socket<Peer>) {
    this.#socket = socket;
  }
  get closed(): boolean {
    return this.#closed || this.#socket.readyState <= 0;
  }
  get drained(): boolean {
    return this.#socket.data.output.length === 0;
  }
  head(status: number, headers: Record<string, string>): void {
    this.#put(headText(status, { ...headers, "transfer-encoding": "chunked" }));
  }
  write(text: string): void {
    this.#put(`${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`);
  }
  end(): void {
    this.#put("0\r\n\r\n");
    this.#over();
  }
  send(status: number, headers: Record<string, string>, body: string): void {
    this.#put(headText(status, { "content-length": String(Buffer.byteLength(body)), ...headers }) + body);
    this.#over();
  }
  reset(): void {
    this.#over();
    this.#socket.terminate();
  }
  drop(): void {
    this.#over();
    this.#socket.end();
  }
  #put(text: string): void {
    if (this.closed) return;
    this.#socket.data.output.push(Buffer.from(text));
    flush(this.#socket);
  }
  #over(): void {
    this.#closed = true;
    this.#socket.data.left = null;
  }
}

/** Writes what the socket takes now; `drain` comes back for the rest. */
function flush(socket: Socket<Peer>): void {
  const { output } = socket.data;
  while (output[0] !== undefined) {
    const written = socket.write(output[0]);
    if (written < 0) return;
    if (written < output[0].length) {
      output[0] = output[0].subarray(written);
      return;
    }
    output.shift();
  }
}

function headText(status: number, headers: Record<string, string>): string {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return `HTTP/1.1 ${status} Status\r\n${lines.join("")}\r\n`;
}

/** The first whole request of `input`, or null until there is one. */
function parse(input: string): { request: RawRequest; rest: string } | null {
  const end = input.indexOf("\r\n\r\n");
  if (end < 0) return null;
  const [start = "", ...lines] = input.slice(0, end).split("\r\n");
  const [method = "", path = ""] = start.split(" ");
  const headers: Record<string, string> = {};
  for (const line of lines) {
    const colon = line.indexOf(":");
    headers[line.slice(0, colon).toLowerCase()] = line.slice(colon + 1).trim();
  }
  const length = Number(headers["content-length"] ?? 0);
  const from = end + 4;
  if (input.length < from + length) return null;
  const body = Buffer.from(input.slice(from, from + length), "latin1").toString("utf8");
  return { request: { method, path, headers, body }, rest: input.slice(from + length) };
}
