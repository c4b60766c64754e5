import { connect as connectTcp } from "node:net";
import type { Socket } from "node:net";
import type { SocketConnection } from "../../src/transport/connection.ts";
import { createSockets } from "../../src/transport/ws.ts";
import type { Sockets } from "../../src/transport/ws.ts";
import { stubTransport } from "./transport-stub.ts";
import type { StubSetup, TransportStub } from "./transport-stub.ts";

export interface Served extends AsyncDisposable {
  readonly stub: TransportStub;
  readonly sockets: Sockets;
  readonly url: string;
  readonly port: number;
}

export function serveSockets(setup: StubSetup = {}): Served {
  const stub = stubTransport(setup);
  const sockets = createSockets(stub.context);
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch: (request, listener) => sockets.upgrade(request, listener),
    websocket: { ...sockets.websocket, data: {} as SocketConnection },
  });
  const unlisten = stub.context.hub.addListener(sockets.listenerFor(server));
  sockets.start();
  return {
    stub,
    sockets,
    url: `ws://127.0.0.1:${server.port}/ws`,
    port: server.port ?? 0,
    async [Symbol.asyncDispose]() {
      unlisten();
      sockets.stop();
      await server.stop(true);
    },
  };
}

/** Waits for a condition that others bring about. */
export async function until(condition: () => boolean): Promise<void> {
  for (const end = performance.now() + 5_000; !condition();) {
    if (performance.now() > end) throw new Error("it did not come about within 5 s");
    await Bun.sleep(1);
  }
}

/** The header of somebody the stub lets in. */
export const right = { authorization: "Bearer right" };

/** A socket that reads nothing after the handshake until it is resumed. */
export function deafClient(port: number): Promise<Socket> {
  return new Promise((resolve) => {
    const socket = connectTcp(port, "127.0.0.1", () => {
      const lines = ["GET /ws HTTP/1.1", "Host: localhost", "Upgrade: websocket", "Connection: Upgrade"];
      lines.push(
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
        "Authorization: Bearer right",
      );
      socket.write(`${lines.join("\r\n")}\r\n\r\n`);
      socket.once("data", () => resolve(socket.pause()));
    });
    socket.on("error", () => undefined);
  });
}

export function onlyConnection(stub: TransportStub): SocketConnection {
  const [connection] = stub.context.connections.all();
  return connection as SocketConnection;
}

export function publish(stub: TransportStub, topic: string, text: string): void {
  stub.context.hub.publish(topic, () => ({ text, type: "x", epoch: null, seq: null }));
}
