import type { Server, ServerWebSocket } from "bun";
import type { ErrorBody } from "../../src/protocol/errors.ts";

/** One socket of the stub. */
export interface StubPeer {
  readonly requests: StubRequest[];
  event(event: string, fields: Record<string, unknown>, payload: Record<string, unknown>): void;
  close(code: number, reason?: string): void;
  /** Without a closing handshake: the client sees 1006. */
  drop(): void;
}

export interface StubRequest {
  readonly peer: StubPeer;
  readonly method: string;
  readonly params: Record<string, unknown>;
  ok(payload: unknown): void;
  fail(error: Partial<ErrorBody> & { code: string }): void;
}

/** A WebSocket server that says what a test tells it to: for what a gateway never does, or not on demand. */
export interface StubGateway {
  readonly url: string;
  /** Every socket so far, oldest first. */
  readonly peers: StubPeer[];
  /** The subprotocols each of them offered. */
  readonly offered: (string | null)[];
  /** Said first on every socket, unless it is null. */
  challenge: (() => Record<string, unknown>) | null;
  /** Answers of methods; `connect` has one. What has none stays unanswered. */
  readonly answers: Record<string, (request: StubRequest) => void>;
  /** Refuses upgrades with 503 while it is true. */
  refusing: boolean;
  stop(): Promise<void>;
}

const HELLO = {
  server_info: {
    name: "stub",
    version: "0",
    protocol_version: 1,
    node_id: "nod_1",
    connection_id: "con_1",
  },
  capabilities: [],
  features: { methods: [], events: [] },
  policy: { heartbeat_interval: 30, max_in_flight: 16 },
  auth_info: { user: "owner", method: "token", scopes: ["admin"] },
};

export function startStub(policy: Record<string, unknown> = {}): StubGateway {
  const peers: StubPeer[] = [];
  const offered: StubGateway["offered"] = [];
  const answers: StubGateway["answers"] = {
    connect: (request) => request.ok({ ...HELLO, policy: { ...HELLO.policy, ...policy } }),
  };
  const server: Server<StubPeer | null> = Bun.serve<StubPeer | null>({
    hostname: "127.0.0.1",
    port: 0,
    fetch(request, listener) {
      if (stub.refusing) return new Response("draining", { status: 503 });
      offered.push(request.headers.get("sec-websocket-protocol"));
      return listener.upgrade(request, { data: null })
        ? undefined
        : new Response("no socket", { status: 426 });
    },
    websocket: {
      open(socket) {
        socket.data = peerOf(socket);
        peers.push(socket.data);
        if (stub.challenge !== null) socket.data.event("connect.challenge", {}, stub.challenge());
      },
      message(socket, text) {
        const peer = socket.data;
        if (peer === null) return;
        const request = requestOf(socket, peer, String(text));
        peer.requests.push(request);
        answers[request.method]?.(request);
      },
    },
  });
  const stub: StubGateway = {
    url: `http://127.0.0.1:${server.port}`,
    peers,
    offered,
    challenge: null,
    answers,
    refusing: false,
    stop: () => server.stop(true),
  };
  return stub;
}

function peerOf(socket: ServerWebSocket<StubPeer | null>): StubPeer {
  return {
    requests: [],
    event: (event, fields, payload) =>
      void socket.send(JSON.stringify({ type: "event", event, ts: 1, ...fields, payload })),
    close: (code, reason) => socket.close(code, reason),
    drop: () => socket.terminate(),
  };
}

function requestOf(socket: ServerWebSocket<StubPeer | null>, peer: StubPeer, text: string): StubRequest {
  const { id, method, params } = JSON.parse(text) as {
    id: string;
    method: string;
    params: Record<string, unknown>;
  };
  return {
    peer,
    method,
    params,
    ok: (payload) => void socket.send(JSON.stringify({ type: "res", id, ok: true, payload })),
    fail: (error) => {
      const body = { status: 5000, message: error.code, retryable: false, ...error };
      socket.send(JSON.stringify({ type: "res", id, ok: false, error: body }));
    },
  };
}

/** Resolves once the condition holds; fails naming it after 5 s. */
export async function until(what: string, holds: () => boolean): Promise<void> {
  const deadline = performance.now() + 5_000;
  while (!holds()) {
    if (performance.now() > deadline) throw new Error(`did not happen within 5 s: ${what}`);
    await Bun.sleep(2);
  }
}
