import type { Client, ClientSession } from "../../src/package/client.ts";
import { createClient } from "../../src/package/client.ts";
import type { CutProxy } from "../support/cut-proxy.ts";
import { startCutProxy } from "../support/cut-proxy.ts";
import type { RunningGateway } from "../support/gateway-process.ts";
import { startGateway } from "../support/gateway-process.ts";

export const TRANSPORTS = ["websocket", "sse"] as const;
type Transport = (typeof TRANSPORTS)[number];

interface Connected {
  readonly client: Client;
  cut(): void;
  /** The next request with this text is answered with UNAVAILABLE, and never arrives. Resolves when it was. */
  refuse(text: string, retry_after_ms?: number): Promise<void>;
}

/** A gateway behind a line that can be cut, and clients at the other end of it. */
export interface Lines extends AsyncDisposable {
  /** While it is held, connections lead nowhere. */
  held: boolean;
  /** A client that is connected, and what cuts its connections off. */
  connect(transport: Transport): Promise<Connected>;
  /** Ends the clients there were. */
  leave(): void;
}

export async function openLines(): Promise<Lines> {
  let gateway: RunningGateway | null = null;
  const clients: Client[] = [];
  const proxy: CutProxy = startCutProxy({
    target: () => (lines.held || gateway === null ? "127.0.0.1:1" : gateway.address),
  });
  const lines: Lines = {
    held: false,
    async connect(transport) {
      const connected = await connectTo(`http://${proxy.address}`, gateway?.token, transport);
      clients.push(connected.client);
      return connected;
    },
    leave() {
      lines.held = false;
      for (const client of clients.splice(0)) client.disconnect();
    },
    async [Symbol.asyncDispose]() {
      proxy.stop();
      await gateway?.[Symbol.asyncDispose]();
    },
  };
  gateway = await startGateway({
    config: {
      server: { public_url: `http://${proxy.address}` },
      limits: { snapshot_messages: 20 },
      tools: { builtin: ["time"] },
    },
  });
  return lines;
}

const REFUSAL = { code: "UNAVAILABLE", status: 5003, message: "not now", details: {}, retryable: true };

/** Bun's own way to end a socket as a broken line does. */
type Cuttable = WebSocket & { terminate(): void };

async function connectTo(
  url: string,
  auth_token: string | undefined,
  transport: Transport,
): Promise<Connected> {
  const sockets = new Set<Cuttable>();
  let line = new AbortController();
  let refusing: { text: string; error: object; done: () => void } | null = null;
  const refusalOf = (sent: unknown): object | null => {
    if (refusing === null || typeof sent !== "string" || !sent.includes(refusing.text)) return null;
    const { error, done } = refusing;
    refusing = null;
    setTimeout(done);
    return error;
  };
  const refuse = (text: string, retry_after_ms?: number): Promise<void> =>
    new Promise((done) => (refusing = { text, error: { ...REFUSAL, retry_after_ms }, done }));
  const Kept = class extends WebSocket {
    constructor(...args: ConstructorParameters<typeof WebSocket>) {
      super(...args);
      sockets.add(this as unknown as Cuttable);
    }
    override send(data: string): void {
      const error = refusalOf(data);
      if (error === null) return super.send(data);
      const { id } = JSON.parse(data) as { id: string };
      const frame = { type: "res", id, ok: false, error };
      this.dispatchEvent(new MessageEvent("message", { data: JSON.stringify(frame) }));
    }
  } as typeof WebSocket;
  const client = createClient({
    url,
    auth_token,
    random: () => 0.1,
    reconnect_delay: 0.5,
    transport,
    WebSocket: Kept,
    fetch: async (address, init) => {
      const error = refusalOf(init.body);
      if (error !== null) return Response.json({ error }, { status: 503 });
      return fetch(address, {
        ...init,
        signal: AbortSignal.any([line.signal, ...(init.signal ? [init.signal] : [])]),
      });
    },
  });
  await client.connect();
  const cut = (): void => {
    for (const socket of sockets) socket.terminate();
    sockets.clear();
    line.abort();
    line = new AbortController();
  };
  return { client, cut, refuse };
}

/** What the demo model answers to "/long" and this number. */
export const counted = (most: number): string =>
  Array.from({ length: most }, (_, i) => String(i + 1)).join(" ");

/** The answer to a message, from its deltas. */
export async function answerTo(session: ClientSession, message: string): Promise<string> {
  const sent = await session.send(message);
  let text = "";
  for await (const { event, payload } of session.events({ after: sent, until: sent.run_id })) {
    if (event === "message.delta") text += payload.text;
  }
  return text;
}
