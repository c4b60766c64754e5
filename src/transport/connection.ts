import type { Caller, Outcome } from "../core/call.ts";
import type { Connection, ConnectionState } from "../core/connections.ts";
import type { Frame } from "../core/hub.ts";
import { newId } from "../core/id.ts";
import type { Credential, Principal } from "../core/principal.ts";
import type { Asker } from "../core/stats.ts";
import type { Subscription } from "../core/subscription.ts";
import { ERRORS, GatewayError } from "../protocol/errors.ts";
import type { Decoded, RequestFrame } from "../protocol/frames.ts";
import { decode, encodeError, encodeOk, encodeOkText } from "../protocol/frames.ts";
import { BadFrames, Held, InFlight } from "./connection-flight.ts";
import * as handshake from "./connection-handshake.ts";
import type { Hello } from "./connection-handshake.ts";
import type { SocketOptions, SocketPort } from "./connection-port.ts";
import { closeReason, DrainWaiters, Gone } from "./connection-port.ts";
import { Pulse } from "./connection-pulse.ts";
import type { TransportContext } from "./context.ts";
import { tooManyCredentials } from "./credential.ts";

/** One WebSocket: handshake, requests, answers. What its socket tells it is handled synchronously, in order. */
export class SocketConnection implements Connection {
  readonly id: string;
  readonly transport = "ws";
  readonly remote: string;
  readonly connected_at: number;
  readonly subscriptions = new Map<string, Subscription>();
  readonly pulse: Pulse;
  state: ConnectionState = "connecting";
  principal: Principal | null;
  /** A frame was dropped because more than backpressure_bytes waited: Bun is about to close the socket. */
  overrun = false;
  client_id: string;
  client_name = "";
  version = "";
  platform = "";
  capabilities: readonly string[] = [];
  last_activity: number;
  readonly #context: TransportContext;
  readonly #options: SocketOptions;
  readonly #flight: InFlight;
  readonly #held: Held;
  readonly #bad: BadFrames;
  readonly #waiters: DrainWaiters;
  readonly #gone = new Gone();
  #port: SocketPort | null = null;
  #caller: Caller | null = null;
  /** Whether `connect` was answered. */
  #greeted = false;
  #earlyBytes = 0;

  constructor(context: TransportContext, options: SocketOptions) {
    const { clock, limits } = context;
    this.connected_at = this.last_activity = clock.now();
    this.id = this.client_id = newId("con", this.connected_at);
    this.remote = options.remote;
    this.pulse = new Pulse(clock.monotonic(), limits);
    this.#context = context;
    this.#options = options;
    this.#waiters = new DrainWaiters(options.turns ?? null);
    this.principal = options.principal;
    this.#flight = new InFlight(limits);
    this.#held = new Held(limits.frame_bytes);
    this.#bad = new BadFrames(limits.bad_frames_per_minute);
  }

  get closed(): boolean {
    return this.state === "closing";
  }

  /** The socket is open. Called once, before anything else. */
  opened(port: SocketPort): void {
    this.#port = port;
    this.#context.connections.add(this);
    const { challenge } = this.#options;
    if (challenge !== null) this.#write(handshake.challengeFrame(challenge));
    if (this.principal !== null) this.#enter(this.principal);
  }

  /** One frame came. */
  receive(raw: string | Uint8Array): void {
    if (this.closed) return;
    this.last_activity = this.#context.clock.now();
    this.pulse.heard();
    if (this.state === "connecting" && !this.#fitsBeforeConnect(raw)) return;
    const decoded = decode(raw, this.#context.limits.json_depth);
    if (!decoded.ok) return this.#badFrame(decoded);
    const { frame } = decoded;
    if (frame.method === "connect") return this.#connect(frame);
    if (this.state === "connecting") return this.#end(handshake.notConnected(), frame.id);
    const refused = this.#flight.enter(frame.id, frame.method);
    if (refused !== null) return this.#refuse(frame.id, refused);
    if (this.state === "connected") return this.#run(frame);
    if (this.#held.add(frame, Buffer.byteLength(raw))) return;
    this.#flight.leave(frame.id);
    this.#refuse(frame.id, this.#flight.full("in_flight"));
  }

  /** The socket may have room again. */
  wake(): void {
    this.#waiters.wake(this.unsent());
  }

  /** The socket is closed, by whomever. */
  ended(code: number): void {
    if (this.closed) return;
    const slow = this.overrun || this.pulse.buffered > this.#context.limits.slow_stuck_bytes;
    if (code === 1006 && slow) this.#context.count.slowConsumer();
    this.#leave();
  }

  send(frame: Frame): void {
    this.#write(frame.text);
  }
  ping(): void {
    if (!this.closed) this.#port?.ping();
  }
  /** Bytes that wait for the peer. */
  unsent(): number {
    return this.closed ? 0 : (this.#port?.getBufferedAmount() ?? 0);
  }
  buffered(): number {
    return this.#waiters.count(this.unsent(), this.#context.limits.catch_up_buffer_bytes);
  }
  drained(below: number): Promise<void> {
    return this.#waiters.until(below, () => this.unsent());
  }
  follow(topic: string): void {
    if (!this.closed) this.#port?.subscribe(topic);
  }
  unfollow(topic: string): void {
    if (!this.closed) this.#port?.unsubscribe(topic);
  }
  close(error: GatewayError): void {
    this.#end(error, null);
  }

  /** Ends it with a close code and no error. Idempotent. */
  end(code: number, reason: string): void {
    if (this.closed) return;
    this.#leave();
    this.#port?.close(code, closeReason(reason));
  }

  #fitsBeforeConnect(raw: string | Uint8Array): boolean {
    const { connect_bytes } = this.#context.limits;
    this.#earlyBytes += Buffer.byteLength(raw);
    if (this.#earlyBytes <= connect_bytes) return true;
    this.#end(handshake.tooEarly(connect_bytes), null);
    return false;
  }

  #connect(frame: RequestFrame): void {
    if (this.#greeted || this.state === "authenticating") {
      return this.#refuse(frame.id, handshake.connectedTwice());
    }
    const refused = this.#flight.enter(frame.id, frame.method);
    if (refused !== null) return this.#refuse(frame.id, refused);
    const hello = handshake.readHello(frame.params, this.#options);
    if (hello instanceof GatewayError) return this.#connectRefused(frame.id, hello);
    const { credential } = hello;
    if (credential === null && this.principal !== null) {
      return this.#greet(frame.id, hello, this.principal);
    }
    this.state = "authenticating";
    this.pulse.shakesHands(this.#context.clock.monotonic());
    void this.#authenticate(frame.id, hello, credential ?? this.#options.unshown ?? { kind: "none" });
    return undefined;
  }

  #connectRefused(id: string, error: GatewayError): void {
    if (error.details?.["kind"] === "protocol") return this.#end(error, id);
    this.#flight.leave(id);
    this.#refuse(id, error);
    return this.#strike();
  }

  async #authenticate(id: string, hello: Hello, credential: Credential): Promise<void> {
    const result = await handshake.authenticate(this.#context, credential, this.remote, hello.client_id);
    if (this.closed) return;
    if (!result.ok) return this.#end(result.error, id);
    if (!handshake.mayBecome(this.principal, result.principal, this.subscriptions.size)) {
      return this.#end(tooManyCredentials(), id);
    }
    const full = this.#context.connections.become(this, result.principal);
    if (full !== null) return this.#end(full, id);
    this.#greet(id, hello, result.principal);
    for (const frame of this.#held.take()) {
      if (!this.closed) this.#run(frame);
    }
    return undefined;
  }

  #greet(id: string, hello: Hello, principal: Principal): void {
    this.#greeted = true;
    this.client_id = hello.client_id || this.id;
    this.client_name = hello.client_name;
    this.version = hello.version;
    this.platform = hello.platform;
    this.capabilities = hello.capabilities;
    this.#flight.leave(id);
    // Before anything else, signals about its own arrival too: it is the first frame a client reads.
    this.#write(encodeOk(id, handshake.welcome(this.#context, this.id, principal)));
    this.#enter(principal);
  }

  /** From here on it is known who is calling. */
  #enter(principal: Principal): void {
    this.principal = principal;
    const gone = this.#gone;
    this.#caller = {
      principal,
      transport: "ws",
      client_id: this.client_id,
      remote: this.remote,
      connection: this,
      get signal() {
        return gone.signal;
      },
    };
    this.state = "connected";
    this.#context.onConnection(this, "joined");
  }

  #run(frame: RequestFrame): void {
    const { id } = frame;
    if (handshake.isOwn(frame.method)) return this.#runOwn(frame, frame.method);
    if (this.#caller === null) throw new Error("a request runs only after authentication");
    this.#context.dispatch(this.#caller, frame, (outcome) => this.#answer(id, outcome));
    return undefined;
  }

  #runOwn(frame: RequestFrame, method: "disconnect" | "heartbeat"): void {
    this.#flight.leave(frame.id);
    try {
      this.#write(handshake.answerOwn(frame, method, this.#context.clock.now()));
    } catch (error) {
      return this.#refuse(frame.id, error as GatewayError);
    }
    if (method === "disconnect") this.end(1000, "disconnect");
    return undefined;
  }

  #answer(id: string, outcome: Outcome): void {
    if (this.closed) return;
    this.#flight.leave(id);
    if (!outcome.ok) this.#write(encodeError(id, outcome.error));
    else if ("text" in outcome) this.#write(encodeOkText(id, outcome.text));
    else this.#write(encodeOk(id, outcome.payload));
  }

  #badFrame({ id, error, json }: Extract<Decoded, { ok: false }>): void {
    if (!json && this.state === "connecting") return this.#end(error, id);
    this.#refuse(id, error);
    return this.#strike();
  }

  #strike(): void {
    if (!this.#bad.add(this.#context.clock.monotonic())) return;
    this.#context.count.limit("bad_frames_per_minute", this.#asker());
    this.end(ERRORS.INVALID_REQUEST.close, "INVALID_REQUEST: too many bad frames within a minute");
  }

  #refuse(id: string | null, error: GatewayError): void {
    this.#context.count.error(error, this.#asker());
    this.#write(encodeError(id, error));
  }

  #asker(): Asker {
    return { user: this.principal?.user, remote: this.remote };
  }

  #write(text: string): void {
    if (this.closed) return;
    if (text.length > this.#context.limits.slow_soft_bytes / 2) this.pulse.sent(Buffer.byteLength(text));
    if (this.#port?.send(text) === 0) this.overrun = true;
  }

  /** The refusal first, then the close. */
  #end(error: GatewayError, id: string | null): void {
    if (this.closed) return;
    this.#refuse(id, error);
    this.end(error.close, `${error.reason}: ${error.message}`);
  }

  #leave(): void {
    const { connections, followers, onConnection } = this.#context;
    this.state = "closing";
    followers.endAll(this);
    connections.remove(this);
    this.#gone.end();
    this.#held.take();
    this.wake();
    if (this.#caller !== null) onConnection(this, "left");
  }
}
