import { dlopen, FFIType, ptr } from "bun:ffi";

/** Where a service manager is told things: one datagram each, to a socket of this machine. */
export interface NotifySocket {
  /** Whether it was taken; false where there is no room for it now, or nobody listens. Never waits. */
  send(text: string): boolean;
  /** Idempotent. */
  close(): void;
}

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
/** What an address has room for, the 0 at the end of a path left out. */
const ADDRESS_BYTES = 107;
const FAMILY_BYTES = 2;

/** The C library, by the names glibc and musl have for it. */
const LIBRARIES = [
  "libc.so.6",
  `libc.musl-${process.arch === "arm64" ? "aarch64" : "x86_64"}.so.1`,
  "libc.so",
];

/**
 * Bun has no datagrams for such sockets, so it is the C library that is asked; on Linux only.
 * @param address a path, or `@name` for one in the abstract namespace
 * @throws Error where it is no such address, or the system refuses
 */
export function openNotifySocket(address: string): NotifySocket {
  const { bytes, length } = readAddress(address);
  const library = openLibrary();
  const { symbols } = library;
  const socket = symbols.socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (socket < 0) {
    library.close();
    throw new Error("the system gives out no socket");
  }
  let isOpen = true;
  return {
    send(text) {
      const message = Buffer.from(text);
      const flags = MSG_DONTWAIT | MSG_NOSIGNAL;
      return (
        isOpen &&
        Number(symbols.sendto(socket, ptr(message), message.length, flags, ptr(bytes), length)) ===
          message.length
      );
    },
    close() {
      if (!isOpen) return;
      isOpen = false;
      symbols.close(socket);
      library.close();
    },
  };
}

/** A `sockaddr_un`, and how much of it counts: of an abstract name every byte does, and no 0 ends it. */
function readAddress(address: string): { readonly bytes: Uint8Array; readonly length: number } {
  const name = Buffer.from(address);
  const isAbstract = address.startsWith("@");
  if ((!isAbstract && !address.startsWith("/")) || name.length < 2 || name.length > ADDRESS_BYTES)
    throw new Error(`${JSON.stringify(address)} is neither a path nor an abstract name`);
  if (isAbstract) name[0] = 0;
  const bytes = Buffer.alloc(FAMILY_BYTES + ADDRESS_BYTES + 1);
  new Uint16Array(bytes.buffer, bytes.byteOffset, 1)[0] = AF_UNIX;
  name.copy(bytes, FAMILY_BYTES);
  return { bytes, length: FAMILY_BYTES + name.length + (isAbstract ? 0 : 1) };
}

function openLibrary() {
  const { i32, u32, u64, i64, ptr: pointer } = FFIType;
  let reason: unknown;
  for (const name of LIBRARIES) {
    try {
      return dlopen(name, {
        socket: { args: [i32, i32, i32], returns: i32 },
        sendto: { args: [i32, pointer, u64, i32, pointer, u32], returns: i64 },
        close: { args: [i32], returns: i32 },
      });
    } catch (error) {
      reason = error;
    }
  }
  throw new Error("the C library cannot be asked", { cause: reason });
}
