import type { Connection } from "../core/connections.ts";
import { nameOf } from "../core/session.ts";
import { GatewayError } from "../protocol/errors.ts";
import { encodeSignal } from "../protocol/frames.ts";
import type { SocketConnection } from "./connection.ts";
import type { PulseRules } from "./connection-pulse.ts";
import type { TransportContext } from "./context.ts";

const LOOK_EVERY_MS = 1_000;
/** How soon it is looked whose buffer is too full, after something had to wait in one. */
const HURRY_MS = 50;

/** Looks at every socket once a second, with one timer for all of them: who is silent, slow, expired, or due a heartbeat. */
export class Heartbeat {
  readonly #context: TransportContext;
  readonly #connections: Iterable<SocketConnection>;
  readonly #rules: PulseRules;
  #cancel: (() => void) | null = null;
  #cancelHurry: (() => void) | null = null;
  /** Bytes that waited at the last hurried look, of those who had too many. */
  #full = new Map<SocketConnection, number>();

  /** `connections` is read anew at every look. */
  constructor(context: TransportContext, connections: Iterable<SocketConnection>) {
    this.#context = context;
    this.#connections = connections;
    const { limits, options } = context;
    this.#rules = {
      limits,
      get heartbeat_interval_secs() {
        return options.heartbeat_interval_secs;
      },
      get connection_timeout_secs() {
        return options.connection_timeout_secs;
      },
    };
  }

  /** Idempotent. */
  start(): void {
    this.#cancel ??= this.#context.clock.every(LOOK_EVERY_MS, () => this.#look());
  }

  /** Idempotent. */
  stop(): void {
    this.#cancel?.();
    this.#cancel = null;
    this.#cancelHurry?.();
    this.#cancelHurry = null;
  }

  /**
   * Something has to wait in somebody's buffer. One that has too much in it and takes nothing is not kept up to the next
   * look: in a second it can grow by megabytes, for each of those who do not read.
   */
  hurry(): void {
    this.#cancelHurry ??= this.#context.clock.after(HURRY_MS, () => {
      this.#cancelHurry = null;
      this.#lookForFull();
    });
  }

  #lookForFull(): void {
    const before = this.#full;
    this.#full = new Map();
    for (const connection of this.#connections) {
      const unsent = connection.unsent();
      if (!connection.pulse.isOver(unsent, this.#context.limits)) continue;
      const shrinks = unsent < (before.get(connection) ?? Number.POSITIVE_INFINITY);
      if (shrinks) this.#full.set(connection, unsent);
      else this.#closeFor("slow", connection);
    }
    if (this.#full.size > 0) this.hurry();
  }

  #look(): void {
    const wall = this.#context.clock.now();
    const now = this.#context.clock.monotonic();
    for (const connection of this.#connections) this.#visit(connection, now, wall);
  }

  #visit(connection: SocketConnection, now: number, wall: number): void {
    // Frames that are published leave without passing the connection, so waiting readers are looked after here too.
    connection.wake();
    const expires_at = connection.principal?.expires_at ?? null;
    if (expires_at !== null && expires_at <= wall) {
      return connection.close(
        new GatewayError("UNAUTHORIZED", "the credential has expired: connect with a new one"),
      );
    }
    const connected = connection.state === "connected";
    const verdict = connection.pulse.look(now, connected, connection.unsent(), this.#rules);
    if (verdict === "ok") return undefined;
    if (verdict === "beat") return beat(connection, wall);
    return this.#closeFor(verdict, connection);
  }

  #closeFor(verdict: "deadline" | "silent" | "unanswered" | "slow", connection: SocketConnection): void {
    const { count, limits, options } = this.#context;
    switch (verdict) {
      case "deadline":
        return connection.close(
          timeout(
            `no connect within ${limits.connect_deadline_ms / 1000} s: send it first`,
            "connect_deadline_ms",
            limits.connect_deadline_ms,
          ),
        );
      case "silent":
        return connection.close(
          timeout(
            `nothing was heard for ${options.connection_timeout_secs} s`,
            "connection_timeout_secs",
            options.connection_timeout_secs,
          ),
        );
      case "unanswered":
        return connection.close(
          timeout(
            "three pings stayed unanswered",
            "heartbeat_interval_secs",
            options.heartbeat_interval_secs,
          ),
        );
      case "slow":
        count.slowConsumer();
        return connection.close(
          new GatewayError(
            "SLOW_CONSUMER",
            "frames are not read fast enough: reconnect and resume from your cursor",
          ),
        );
    }
  }
}

function timeout(message: string, what: string, limit: number): GatewayError {
  return new GatewayError("TIMEOUT", message, { limit: { what, limit } });
}

function beat(connection: SocketConnection, ts: number): void {
  const text = encodeSignal("heartbeat", ts, { ts, heads: headsOf(connection) });
  connection.send({ text, type: "heartbeat", epoch: null, seq: null });
  connection.ping();
}

/** The published head of every session a connection follows, by the name it knows the session under. */
function headsOf(connection: Connection): Record<string, [epoch: string, seq: number]> {
  const heads: [string, [string, number]][] = [];
  for (const { session, naming, tail } of connection.subscriptions.values()) {
    heads.push([nameOf(session, naming), [tail.epoch, tail.head]]);
  }
  // Not by assignment: "__proto__" is a name a session may have.
  return Object.fromEntries(heads);
}
