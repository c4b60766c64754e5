import type { ServerWebSocket } from "bun";
import { nowMicros } from "./clock.ts";
import type { Child } from "./process.ts";

/** A WebSocket server of Bun with nothing between the socket and the answer: what the gateway is measured against. */
export interface RawProcess extends Child {
  readonly socketUrl: string;
  readonly url: string;
}

type Ws = ServerWebSocket<undefined>;
interface Request {
  readonly id: string;
  readonly method: string;
  readonly params: Record<string, unknown>;
}

/** `bun bench/support/raw.ts` prints `{"url": …}` and serves until it is killed. */
if (import.meta.main) serve();

function serve(): void {
  const state = { seq: 0, template: {} as unknown, log: [] as string[], snapshot: "{}" };
  const drains = new WeakMap<Ws, () => void>();

  function answer(ws: Ws, id: string, payload: unknown): void {
    ws.send(JSON.stringify({ type: "res", id, ok: true, payload }));
  }

  function eventText(event: string, session_id: unknown, payload: unknown): string {
    const seq = ++state.seq;
    return JSON.stringify({
      type: "event",
      event,
      session_id,
      epoch: "k3v9q2a7",
      seq,
      ts: Date.now(),
      payload,
    });
  }

  function synced(ws: Ws, session_id: unknown): void {
    ws.send(
      JSON.stringify({ type: "event", event: "session.synced", session_id, ts: Date.now(), payload: {} }),
    );
  }

  /** One publication per `pace_ms`, each with the moment it was due: a loop that is held up cannot hide it. */
  function publishTokens(topic: string, count: number, pace_ms: number): void {
    const start = nowMicros();
    let i = 0;
    const timer = setInterval(() => {
      const now = nowMicros();
      for (let due = start + (i + 1) * pace_ms * 1_000; due <= now && i < count; due += pace_ms * 1_000) {
        const text = `${i++}:${due.toFixed(0)} `;
        server.publish(topic, eventText("message.delta", topic, { part: 0, off: 0, text }), false);
      }
      if (i >= count) clearInterval(timer);
    }, 2);
  }

  /** What a run that ends leaves: its last deltas and the whole message. */
  function blast(topic: string, params: Readonly<Record<string, unknown>>): void {
    const text = "x".repeat(Number(params["chunk_bytes"]));
    for (let i = 0; i < Number(params["chunks"]); i++) {
      server.publish(topic, eventText("message.delta", topic, { part: 0, off: 0, text }), false);
    }
    const message = "x".repeat(Number(params["bytes"]));
    server.publish(topic, eventText("message.completed", topic, { message }), false);
  }

  /** Sends the log, never with more than 64 KiB waiting. */
  async function replay(ws: Ws, session_id: unknown): Promise<void> {
    for (const text of state.log) {
      ws.send(text);
      if (ws.getBufferedAmount() < 65_536) continue;
      await new Promise<void>((resolve) => drains.set(ws, resolve));
    }
    synced(ws, session_id);
  }

  function run(ws: Ws, { id, method, params }: Request): void {
    const topic = String(params?.["session_id"]);
    switch (method) {
      case "template":
        state.template = params["payload"];
        return answer(ws, id, {});
      case "subscribe":
        answer(ws, id, {});
        ws.subscribe(topic);
        return synced(ws, topic);
      case "event.send": {
        answer(ws, id, { seq: state.seq + 1 });
        return void server.publish(
          topic,
          eventText(String(params["event"]), topic, params["payload"]),
          false,
        );
      }
      case "blast":
        answer(ws, id, {});
        return blast(topic, params);
      case "tokens":
        answer(ws, id, {});
        return publishTokens(topic, Number(params["count"]), Number(params["pace_ms"]));
      case "log":
        state.log = Array.from({ length: Number(params["count"]) }, () =>
          eventText("app.bench", topic, params["payload"]),
        );
        return answer(ws, id, {});
      case "replay":
        answer(ws, id, {});
        return void replay(ws, topic);
      case "snapshot":
        state.snapshot = JSON.stringify({ text: "x".repeat(Number(params["bytes"])) });
        return answer(ws, id, {});
      case "join":
        ws.send(`{"type":"res","id":"${id}","ok":true,"payload":{"snapshot":${state.snapshot}}}`);
        ws.subscribe(topic);
        return synced(ws, topic);
      default:
        return answer(ws, id, state.template);
    }
  }

  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch: (request, self) => (self.upgrade(request) ? undefined : new Response('{"status":"healthy"}')),
    websocket: {
      backpressureLimit: 4 * 1024 * 1024,
      closeOnBackpressureLimit: true,
      idleTimeout: 0,
      sendPings: false,
      perMessageDeflate: false,
      message(ws: Ws, text) {
        run(ws, JSON.parse(String(text)) as Request);
      },
      drain(ws: Ws) {
        drains.get(ws)?.();
      },
    },
  });
  console.log(JSON.stringify({ url: `http://127.0.0.1:${server.port}` }));
}
