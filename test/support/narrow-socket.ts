import type { Socket, SocketHandler } from "bun";
import { dlopen, ptr } from "bun:ffi";

const AF_INET = 2;
const SOCK_STREAM = 1;
const SOL_SOCKET = 1;
const SO_RCVBUF = 8;
const IPPROTO_TCP = 6;
const TCP_MAXSEG = 2;
const F_SETFL = 4;
const O_NONBLOCK = 2_048;

/** What a segment of a real network holds, and how much of it is taken before somebody reads. */
const SEGMENT_BYTES = 1_400;
const RECEIVE_BYTES = 8_192;

/**
 * Connects over loopback as over a network: between two sockets of one machine the kernel holds 4 MB before the writer
 * notices that nobody reads, here it is about 128 KB. Elsewhere than on Linux it is an ordinary connection.
 */
export function connectNarrow<T>(port: number, data: T, socket: SocketHandler<T>): Promise<Socket<T>> {
  const fd = process.platform === "linux" ? openNarrow(port) : null;
  if (fd === null) return Bun.connect<T>({ hostname: "127.0.0.1", port, data, socket });
  return Bun.connect<T>({ fd, data, socket } as unknown as Bun.TCPSocketConnectOptions<T>);
}

/** Null where the C library has another name. */
function openNarrow(port: number): number | null {
  const libc = openLibc();
  if (libc === null) return null;
  const fd = libc.socket(AF_INET, SOCK_STREAM, 0);
  libc.setsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, ptr(new Int32Array([SEGMENT_BYTES])), 4);
  libc.setsockopt(fd, SOL_SOCKET, SO_RCVBUF, ptr(new Int32Array([RECEIVE_BYTES])), 4);
  // struct sockaddr_in: family, port in network order, 127.0.0.1.
  const address = new Uint8Array([AF_INET, 0, port >> 8, port & 255, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
  if (libc.connect(fd, ptr(address), address.length) !== 0)
    throw new Error(`nothing listens on port ${port}`);
  libc.fcntl(fd, F_SETFL, O_NONBLOCK);
  return fd;
}

function openLibc() {
  try {
    return dlopen("libc.so.6", {
      socket: { args: ["i32", "i32", "i32"], returns: "i32" },
      setsockopt: { args: ["i32", "i32", "i32", "ptr", "u32"], returns: "i32" },
      connect: { args: ["i32", "ptr", "u32"], returns: "i32" },
      fcntl: { args: ["i32", "i32", "i32"], returns: "i32" },
    }).symbols;
  } catch {
    // musl: an ordinary connection is less strict and still right.
    return null;
  }
}
