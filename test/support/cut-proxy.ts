import type { Socket, SocketHandler } from "bun";
import { connectNarrow } from "./narrow-socket.ts";
import type { Random } from "./random.ts";

/**
 * How a connection ends before its time: "close" by FIN, "reset" by RST, to both sides; "stall": nothing passes any more
 * and nobody is told; "orphan": the client is reset and the gateway goes on writing to a peer that is not there.
 */
export type CutKind = "close" | "reset" | "stall" | "orphan";

export interface Cut {
  readonly kind: CutKind;
  /** Which way the bytes are counted: "up" is to the gateway. */
  readonly side: "up" | "down";
  /** So many bytes still pass. */
  readonly after_bytes: number;
}

export interface CutProxyOptions {
  /** host:port to connect to; asked for every connection. */
  readonly target: () => string;
  /** Towards the gateway little is held by the kernel, as over a network (narrow-socket.ts). */
  readonly narrow?: boolean;
  /** What happens to the n-th connection, from 0; null: nothing. */
  readonly plan?: (connection: number) => Cut | null;
}

/** A TCP proxy that breaks connections where it is told to. */
export interface CutProxy extends AsyncDisposable {
  /** host:port */
  readonly address: string;
  /** Connections so far, and how many of them were cut. */
  readonly connections: number;
  readonly cuts: number;
  /** Bytes a second from the gateway to each client, from now on: 0 holds everything, Infinity is no bound. */
  throttle(bytes_per_sec: number): void;
  /** Nothing passes any more, one way or both, and nobody is told, not of an end either; what comes is kept. */
  hold(sides?: readonly ("up" | "down")[]): void;
  /** What was held passes, and what comes. */
  release(): void;
  stop(): void;
}

const TICK_MS = 20;
/** What is held of a throttled connection before its source is not read any more. */
const HOLD_BYTES = 2_048;

export function startCutProxy(options: CutProxyOptions): CutProxy {
  const wires = new Set<Wire>();
  const count = { connections: 0, cuts: 0 };
  let rate = Number.POSITIVE_INFINITY;
  let held: readonly ("up" | "down")[] = [];
  let ticking: ReturnType<typeof setInterval> | null = null;
  const listener = Bun.listen<Wire>({
    hostname: "127.0.0.1",
    port: 0,
    socket: {
      open(client) {
        const cut = options.plan?.(count.connections) ?? null;
        count.connections++;
        const wire = new Wire(client, cut, {
          cut: () => void count.cuts++,
          gone: () => void wires.delete(wire),
        });
        wires.add(wire);
        wire.down.rate = rate;
        for (const side of held) wire[side].rate = 0;
        client.data = wire;
        wire.connect(options.target(), options.narrow === true);
      },
      data: (client, bytes) => client.data.fromClient(bytes),
      drain: (client) => client.data.down.pump(),
      close: (client, error) => client.data?.clientGone(error !== undefined),
      error: (client) => client.terminate(),
    },
  });
  function stop(): void {
    listener.stop();
    if (ticking !== null) clearInterval(ticking);
    for (const wire of wires) wire.reset();
  }
  return {
    address: `127.0.0.1:${listener.port}`,
    get connections() {
      return count.connections;
    },
    get cuts() {
      return count.cuts;
    },
    throttle(bytes_per_sec) {
      rate = bytes_per_sec;
      for (const { down } of wires) {
        down.rate = rate;
        down.pump();
      }
      ticking ??= setInterval(() => {
        for (const { down } of wires) down.tick();
      }, TICK_MS);
    },
    hold(sides = ["up", "down"]) {
      held = sides;
      for (const wire of wires) for (const side of sides) wire[side].rate = 0;
    },
    release() {
      for (const wire of wires)
        for (const side of held) {
          wire[side].rate = Number.POSITIVE_INFINITY;
          wire[side].pump();
        }
      held = [];
    },
    stop,
    [Symbol.asyncDispose]: async () => stop(),
  };
}

/** One way of a connection: what came and was not taken yet. */
class Flow {
  rate = Number.POSITIVE_INFINITY;
  /** Bytes that may pass; then `onEnd` is called, once. */
  left = Number.POSITIVE_INFINITY;
  from: Socket<Wire> | null = null;
  to: Socket<Wire> | null = null;
  #queue: Buffer[] = [];
  #waiting = 0;
  #allowed = 0;
  #paused = false;
  #finishing = false;
  readonly #onEnd: () => void;

  constructor(onEnd: () => void) {
    this.#onEnd = onEnd;
  }

  push(bytes: Buffer): void {
    if (this.#finishing || this.left <= 0) return;
    const passing = bytes.subarray(0, this.left);
    this.left -= passing.length;
    if (passing.length > 0) {
      // The buffer of a data event is the socket's own.
      this.#queue.push(Buffer.from(passing));
      this.#waiting += passing.length;
    }
    this.pump();
    if (this.left === 0) this.#onEnd();
  }

  /** Nothing more comes: ends the other side once it has taken everything. */
  finish(): void {
    this.#finishing = true;
    this.from?.resume();
    this.pump();
  }

  /** Nobody takes it: what comes is thrown away. */
  discard(): void {
    this.to = null;
    this.#finishing = true;
    this.from?.resume();
  }

  tick(): void {
    if (!Number.isFinite(this.rate)) return;
    // What was not used is not saved up.
    this.#allowed = Math.max(1, (this.rate * TICK_MS) / 1_000);
    if (this.rate === 0) this.#allowed = 0;
    this.pump();
  }

  pump(): void {
    const { to } = this;
    while (to !== null && this.#queue[0] !== undefined) {
      const chunk = this.#queue[0];
      const bound = Number.isFinite(this.rate) ? Math.floor(this.#allowed) : chunk.length;
      if (bound === 0) break;
      const written = to.write(chunk.subarray(0, bound));
      if (written <= 0) break;
      this.#allowed -= written;
      this.#waiting -= written;
      if (written < chunk.length) this.#queue[0] = chunk.subarray(written);
      else this.#queue.shift();
    }
    if (this.#finishing && this.#waiting === 0 && this.rate > 0) to?.end();
    this.#press();
  }

  /** Its source is not read while much waits here. */
  #press(): void {
    const full = this.#waiting > HOLD_BYTES;
    if (full === this.#paused || this.#finishing) return;
    this.#paused = full;
    if (full) this.from?.pause();
    else this.from?.resume();
  }
}

/** One connection through the proxy. */
class Wire {
  readonly up: Flow;
  readonly down: Flow;
  readonly #client: Socket<Wire>;
  readonly #tell: { cut: () => void; gone: () => void };
  #gateway: Socket<Wire> | null = null;
  #state: "open" | "ending" | "stalled" | "orphaned" = "open";

  constructor(client: Socket<Wire>, cut: Cut | null, tell: { cut: () => void; gone: () => void }) {
    this.#client = client;
    this.#tell = tell;
    const here = (): void => this.#cut(cut?.kind ?? "reset");
    this.up = new Flow(here);
    this.down = new Flow(here);
    this.up.from = client;
    this.down.to = client;
    if (cut !== null) this[cut.side].left = cut.after_bytes;
  }

  connect(target: string, narrow: boolean): void {
    const [hostname = "", port = ""] = target.split(":");
    const socket: SocketHandler<Wire> = {
      open: (gateway) => this.#connected(gateway),
      data: (_gateway, bytes) => this.#fromGateway(bytes),
      drain: () => this.up.pump(),
      close: (_gateway, error) => this.#gatewayGone(error !== undefined),
      error: (gateway) => gateway.terminate(),
      connectError: () => this.reset(),
    };
    const connecting = narrow
      ? connectNarrow<Wire>(Number(port), this, socket)
      : Bun.connect<Wire>({ hostname, port: Number(port), data: this, socket });
    connecting.catch(() => this.reset());
  }

  fromClient(bytes: Buffer): void {
    if (this.#state === "open") this.up.push(bytes);
  }

  clientGone(reset: boolean): void {
    if (this.#state === "orphaned") return;
    this.#tell.gone();
    this.down.discard();
    const passes = this.up.rate > 0;
    if (passes && (reset || this.#state === "stalled")) this.#gateway?.terminate();
    else this.up.finish();
    this.#state = "ending";
  }

  /** Ends both sides by RST. */
  reset(): void {
    this.#state = "ending";
    this.#client.terminate();
    this.#gateway?.terminate();
  }

  #fromGateway(bytes: Buffer): void {
    if (this.#state === "open") this.down.push(bytes);
  }

  #connected(gateway: Socket<Wire>): void {
    if (this.#state !== "open") return gateway.terminate();
    this.#gateway = gateway;
    this.up.to = gateway;
    this.down.from = gateway;
    return this.up.pump();
  }

  #gatewayGone(reset: boolean): void {
    this.#gateway = null;
    if (this.#state !== "open") return;
    this.#state = "ending";
    if (reset) this.#client.terminate();
    else this.down.finish();
  }

  #cut(kind: CutKind): void {
    if (this.#state !== "open") return;
    this.#tell.cut();
    if (kind === "reset") return this.reset();
    if (kind === "close") {
      this.#state = "ending";
      this.up.finish();
      this.down.finish();
      return;
    }
    this.#state = kind === "stall" ? "stalled" : "orphaned";
    this.#gateway?.pause();
    if (kind === "orphan") this.#client.terminate();
  }
}

/** A cut at a random place, biased to the first bytes: the handshake, the opening and the first events. */
export function randomCut(random: Random, most: { up: number; down: number }): Cut {
  const side = random.chance(0.75) ? "down" : "up";
  const kind = random.pick<CutKind>(["close", "close", "reset", "reset", "reset", "stall", "orphan"]);
  return {
    kind,
    side,
    after_bytes: random.chance(0.3) ? random.spread(1, most[side]) : random.between(1, most[side]),
  };
}
