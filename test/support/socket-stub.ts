import { expect } from "bun:test";
import { SocketConnection } from "../../src/transport/connection.ts";
import type { SocketPort } from "../../src/transport/connection-port.ts";
import { OWNER, stubTransport } from "./transport-stub.ts";
import type { StubSetup, TransportStub } from "./transport-stub.ts";

/** A socket of which a test is the other end. */
export interface FakePort extends SocketPort {
  // oxlint-disable-next-line typescript/no-explicit-any -- a test looks wherever it likes
  readonly sent: any[];
  readonly topics: Set<string>;
  closed: { readonly code: number; readonly reason: string } | null;
  pings: number;
  /** Bytes that wait. */
  waiting: number;
  /** What `send` answers. */
  status: number;
}

export function fakePort(): FakePort {
  const port: FakePort = {
    sent: [],
    topics: new Set(),
    closed: null,
    pings: 0,
    waiting: 0,
    status: 1,
    send(text) {
      if (port.closed !== null) throw new Error("sent after the close");
      port.sent.push(JSON.parse(text));
      return port.status;
    },
    close(code, reason) {
      if (port.closed !== null) throw new Error("closed twice");
      port.closed = { code, reason };
    },
    getBufferedAmount: () => port.waiting,
    ping: () => ++port.pings,
    subscribe: (topic) => port.topics.add(topic),
    unsubscribe: (topic) => port.topics.delete(topic),
  };
  return port;
}

interface Setup extends StubSetup {
  readonly authenticated?: boolean;
  readonly challenge?: boolean;
}

export function open(setup: Setup = {}): {
  stub: TransportStub;
  connection: SocketConnection;
  port: FakePort;
} {
  const stub = stubTransport(setup);
  const port = fakePort();
  const connection = new SocketConnection(stub.context, {
    remote: "127.0.0.1",
    principal: setup.authenticated === true ? OWNER : null,
    challenge: setup.challenge === true ? stub.context.challenger.forSocket() : null,
    origin: "",
  });
  connection.opened(port);
  return { stub, connection, port };
}

export function req(method: string, params?: unknown, id = "1"): string {
  return JSON.stringify({ type: "req", id, method, ...(params !== undefined && { params }) });
}

/** Lets the authenticator's promises settle. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 5; turn++) await Promise.resolve();
}

export async function connected(setup: Setup = {}) {
  const opened = open(setup);
  opened.connection.receive(req("connect", { auth_token: "right" }, "h"));
  await settle();
  expect(opened.connection.state).toBe("connected");
  opened.port.sent.length = 0;
  return opened;
}

export function refusal(id: string | null, error: Record<string, unknown>) {
  return { type: "res", id, ok: false, error: expect.objectContaining(error) };
}
