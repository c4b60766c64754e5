import { dlopen, FFIType, ptr } from "bun:ffi";
import { connect } from "node:net";

/** A port that exists and never completes a connection: it listens, its queue is full and nobody accepts. Linux only. */
export interface DeafPort extends AsyncDisposable {
  readonly port: number;
}

const AF_INET = 2;
const SOCK_STREAM = 1;

export async function openDeafPort(): Promise<DeafPort> {
  const { int, ptr: pointer } = FFIType;
  const libc = dlopen("libc.so.6", {
    socket: { args: [int, int, int], returns: int },
    listen: { args: [int, int], returns: int },
    getsockname: { args: [int, pointer, pointer], returns: int },
    close: { args: [int], returns: int },
  }).symbols;
  const fd = libc.socket(AF_INET, SOCK_STREAM, 0);
  if (fd < 0 || libc.listen(fd, 0) !== 0) throw new Error("cannot listen");
  const address = new Uint8Array(16);
  if (libc.getsockname(fd, ptr(address), ptr(new Uint32Array([address.length]))) !== 0)
    throw new Error("no address");
  const port = new DataView(address.buffer).getUint16(2);

  // The queue of a backlog of 0 takes one connection; the others are what stands in line behind it.
  const fillers = Array.from({ length: 3 }, () => connect({ host: "127.0.0.1", port }).on("error", () => {}));
  await new Promise<void>((resolve) => {
    for (const filler of fillers) filler.once("connect", () => resolve());
  });
  return {
    port,
    async [Symbol.asyncDispose]() {
      for (const filler of fillers) filler.destroy();
      libc.close(fd);
    },
  };
}
