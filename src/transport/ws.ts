import type { ServerWebSocket, WebSocketHandler } from "bun";
import type { Listener } from "../core/hub.ts";
import { newId } from "../core/id.ts";
import { GatewayError } from "../protocol/errors.ts";
import type { SocketConnection } from "./connection.ts";
import type { TransportContext } from "./context.ts";
import { Heartbeat } from "./heartbeat.ts";
import { Turns } from "./turn.ts";
import { Intake } from "./ws-intake.ts";
import type { SocketServer, Upgrade } from "./ws-upgrade.ts";
import { createUpgrade } from "./ws-upgrade.ts";

export interface Sockets {
  /** Answers a request for a socket path that asks to be upgraded. */
  readonly upgrade: Upgrade;
  /** For `Bun.serve`; the same object serves any number of listeners. */
  readonly websocket: WebSocketHandler<SocketConnection>;
  /** The end of the topics for the sockets of one server. */
  listenerFor(server: SocketServer): Listener;
  /** Ends every socket: with an error, or with a close code such as 1012. */
  closeAll(end: GatewayError | number): void;
  /** Begins and ends the once-a-second look at every socket. Idempotent. */
  start(): void;
  stop(): void;
}

/** The reason Bun gives for closing a socket with 1009: the code it tells us is 1006. */
const TOO_BIG = "Received too big message";
/** How soon somebody may come again who sent too many control frames. */
const CONTROL_RETRY_MS = 1_000;

export function createSockets(context: TransportContext): Sockets {
  const sockets = new Set<SocketConnection>();
  const turns = new Turns(() => context.clock.monotonic());
  const heartbeat = new Heartbeat(context, sockets);

  function listenerFor(server: SocketServer): Listener {
    return {
      publish(topic, frame) {
        const status = server.publish(topic, frame.text, false);
        if (status === -1) heartbeat.hurry();
        if (status !== 0 || server.subscriberCount(topic) === 0) return;
        // Somebody's frame was dropped, and only the sum is told: they are those with a full buffer.
        for (const socket of sockets) {
          if (socket.unsent() > context.limits.backpressure_bytes) socket.overrun = true;
        }
      },
    };
  }

  function closeAll(end: GatewayError | number): void {
    for (const socket of sockets) {
      if (typeof end === "number") socket.end(end, "the gateway stops");
      else socket.close(end);
    }
  }

  return {
    upgrade: createUpgrade(context, turns),
    websocket: handlers(context, sockets, turns),
    listenerFor,
    closeAll,
    start: () => heartbeat.start(),
    stop: () => heartbeat.stop(),
  };
}

function handlers(
  context: TransportContext,
  sockets: Set<SocketConnection>,
  turns: Turns,
): WebSocketHandler<SocketConnection> {
  const failed = (error: unknown, ws: ServerWebSocket<SocketConnection>): void => {
    const id = newId("req", context.clock.now());
    context.log.error(
      { error_id: id, connection_id: ws.data.id, err: error },
      "a socket failed unexpectedly",
    );
    const message = `something went wrong; the log has it under ${id}`;
    ws.data.close(new GatewayError("INTERNAL_ERROR", message, { details: { id } }));
  };
  const intake = new Intake<ServerWebSocket<SocketConnection>>({ turns, failed });
  /** Pings are answered below us, as fast as they come: only an end ends that. */
  const control = (ws: ServerWebSocket<SocketConnection>, tooMany: boolean): void => {
    if (!tooMany) return;
    ws.data.close(
      new GatewayError("RATE_LIMITED", "too many pings and pongs", {
        details: { kind: "control_frames" },
        limit: { what: "control_frames_per_second", limit: context.limits.control_frames_per_second },
        retry_after_ms: CONTROL_RETRY_MS,
      }),
    );
  };
  return {
    maxPayloadLength: context.limits.frame_bytes,
    backpressureLimit: context.limits.backpressure_bytes,
    closeOnBackpressureLimit: true,
    // The gateway has its own timers, and its pings are counted.
    idleTimeout: 0,
    sendPings: false,
    perMessageDeflate: false,
    open(ws) {
      sockets.add(ws.data);
      ws.data.opened(ws);
    },
    message(ws, raw) {
      intake.take(ws, raw);
    },
    drain(ws) {
      ws.data.wake();
    },
    ping(ws) {
      control(ws, ws.data.pulse.pinged());
    },
    pong(ws) {
      control(ws, ws.data.pulse.ponged());
    },
    close(ws, code, reason) {
      sockets.delete(ws.data);
      intake.forget(ws);
      if (reason === TOO_BIG) {
        const { frame_bytes } = context.limits;
        const limit = { what: "frame_bytes", limit: frame_bytes };
        const error = new GatewayError("TOO_LARGE", `more than ${frame_bytes} bytes in a frame`, { limit });
        context.count.error(error, { user: ws.data.principal?.user, remote: ws.data.remote });
      }
      ws.data.ended(code);
    },
    error: failed,
  };
}
