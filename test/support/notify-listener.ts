import { dlopen, FFIType, ptr } from "bun:ffi";
import { join } from "node:path";
import { workplace } from "./executable.ts";

/** What stands in for a service manager: a real datagram socket, and what was sent to it. */
export interface NotifyListener extends Disposable {
  /** For NOTIFY_SOCKET. */
  readonly address: string;
  /** Whole datagrams so far, oldest first. */
  read(): string[];
  /** The first one, from now on or before, that begins so. */
  until(start: string, timeout_ms?: number): Promise<string>;
}

const MESSAGE_BYTES = 4_096;

export function listenForNotices(where: "path" | "abstract"): NotifyListener {
  const { i32, u32, u64, i64, ptr: pointer } = FFIType;
  const library = dlopen("libc.so.6", {
    socket: { args: [i32, i32, i32], returns: i32 },
    bind: { args: [i32, pointer, u32], returns: i32 },
    recv: { args: [i32, pointer, u64, i32], returns: i64 },
    close: { args: [i32], returns: i32 },
  });
  const { symbols } = library;
  const place = workplace();
  const path = join(place.path, "notify");
  const address = where === "path" ? path : `@agentbus-test-${process.pid}-${Date.now()}`;
  const name = Buffer.from(where === "path" ? `${path}\0` : address);
  if (where === "abstract") name[0] = 0;
  const family = new Uint8Array(new Uint16Array([1]).buffer);
  const bytes = Buffer.concat([family, name]);
  const socket = symbols.socket(1, 2 | 0o4000 | 0o2000000, 0);
  if (symbols.bind(socket, ptr(bytes), bytes.length) !== 0) throw new Error(`cannot bind ${address}`);
  const all: string[] = [];
  const buffer = Buffer.alloc(MESSAGE_BYTES);
  function read(): string[] {
    for (;;) {
      const count = Number(symbols.recv(socket, ptr(buffer), buffer.length, 0));
      if (count < 0) return all;
      all.push(buffer.toString("utf8", 0, count));
    }
  }
  return {
    address,
    read,
    async until(start, timeout_ms = 10_000) {
      for (const end = performance.now() + timeout_ms; ;) {
        const found = read().find((each) => each.startsWith(start));
        if (found !== undefined) return found;
        if (performance.now() > end)
          throw new Error(`no ${start} within ${timeout_ms} ms; ${all.join(" | ")}`);
        await Bun.sleep(5);
      }
    },
    [Symbol.dispose]() {
      symbols.close(socket);
      library.close();
      place[Symbol.dispose]();
    },
  };
}
