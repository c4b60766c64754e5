import type { EventFrame } from "../protocol/frames.ts";
import { ClientError } from "./error.ts";
import type { ClientOptions } from "./options.ts";
import { greetingOf, socketUrl } from "./options.ts";
import type { Link, LinkEnd } from "./link.ts";
import { openLink } from "./link.ts";
import type { Hello, MethodName, ParamsFor, ResultFor } from "./methods.ts";
import { ask } from "./request.ts";
import type { RequestOptions } from "./request.ts";
import type { Answered } from "./outbox.ts";
import { Outbox } from "./outbox.ts";
import type { Admission } from "./pairing.ts";
import { createAdmission } from "./pairing.ts";
import { comesBack, createReconnect, meaningOf } from "./reconnect.ts";
import type { SubscribeOptions, Subscription, SubscriptionHandlers } from "./subscription.ts";
import { Follow } from "./subscription.ts";

/** `retry_in_ms` is there while the next attempt is waited for: of a lost connection, or of a device that asks to be let in. */
export interface ClientState {
  readonly state: "idle" | "connecting" | "connected" | "reconnecting" | "closed";
  readonly error?: ClientError;
  readonly retry_in_ms?: number;
}

const CONNECT_TIMEOUT_MS = 10_000;
const IN_FLIGHT = 16;

/** The connection to one gateway through all its sockets: what is asked over it, and what is followed. */
export class Connection {
  readonly #options: ClientOptions;
  readonly #url: string;
  readonly #greeting: Record<string, unknown>;
  /** Null: no device asks to be let in. */
  readonly #admission: Admission | null;
  readonly #random: () => number;
  readonly #outbox = new Outbox();
  readonly #follows = new Map<string, Follow>();
  readonly #listeners = new Map<string, Set<(value: never) => void>>();
  readonly #reconnect;
  #state: ClientState = { state: "idle" };
  #hello: Hello | null = null;
  #link: Link | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** The gateway said on this connection that it is going down. */
  #shutdown = false;
  #first: { resolve: (hello: Hello) => void; reject: (error: ClientError) => void } | null = null;

  constructor(options: ClientOptions) {
    if ((options.WebSocket ?? globalThis.WebSocket) === undefined) {
      throw new TypeError("this runtime has no WebSocket: pass one as options.WebSocket");
    }
    this.#options = options;
    this.#url = socketUrl(options.url);
    this.#random = options.random ?? Math.random;
    this.#reconnect = createReconnect(this.#random);
    const greeting = greetingOf(options);
    this.#greeting = greeting;
    this.#admission = options.device ? createAdmission(options.device, greeting.client_id) : null;
  }

  get state(): ClientState["state"] {
    return this.#state.state;
  }
  get hello(): Hello | null {
    return this.#hello;
  }

  connect(): Promise<Hello> {
    if (this.state !== "idle" && this.state !== "closed") throw new Error("connect() was called already");
    return new Promise((resolve, reject) => {
      this.#first = { resolve, reject };
      this.#state = { state: "connecting" };
      this.#open();
      this.#emit("state", this.#state);
    });
  }

  request<M extends MethodName>(
    method: M,
    params: ParamsFor<M>,
    options: RequestOptions = {},
  ): Promise<ResultFor<M>> {
    if (this.state === "idle" || this.state === "closed")
      return Promise.reject(closedError(this.#state.error));
    return ask(this.#outbox, method, params, options) as Promise<ResultFor<M>>;
  }

  on(event: string, listener: (value: never) => void): () => void {
    const listeners = this.#listeners.get(event) ?? new Set();
    this.#listeners.set(event, listeners);
    listeners.add(listener);
    return () => void listeners.delete(listener);
  }

  subscribe(session_id: string, options: SubscribeOptions, handlers: SubscriptionHandlers): Subscription {
    if (this.#follows.has(session_id)) throw new Error(`${session_id} is followed already`);
    const request = (method: string, params: Record<string, unknown>, answered: Answered) =>
      this.#outbox.add(method, params, answered);
    const removed = (): void => void this.#follows.delete(session_id);
    const follow = new Follow({ request, random: this.#random, removed }, session_id, options, handlers);
    this.#follows.set(session_id, follow);
    if (this.state === "connected") follow.open();
    return follow;
  }

  disconnect(): void {
    if (this.state === "idle" || this.state === "closed") return;
    for (const follow of this.#follows.values()) follow.suspend();
    this.#follows.clear();
    this.#close(new ClientError("ABORTED", "disconnected by the caller"));
  }

  #open(): void {
    this.#shutdown = false;
    const admission = this.#admission;
    const link = openLink(
      {
        url: this.#url,
        WebSocket: this.#options.WebSocket ?? globalThis.WebSocket,
        greeting: this.#greeting,
        prove: admission === null ? null : (challenge) => admission.prove(challenge),
        timeout_ms: this.#options.connect_timeout_ms ?? CONNECT_TIMEOUT_MS,
      },
      {
        ready: (hello) => this.#ready(hello, link),
        answer: (frame) => this.#outbox.receive(frame),
        event: (frame) => this.#event(frame),
        closed: (end) => this.#lost(end),
      },
    );
    this.#link = link;
  }

  #ready(hello: Hello, link: Link): void {
    this.#hello = hello;
    this.#state = { state: "connected" };
    this.#reconnect.connected(performance.now());
    this.#admission?.admitted();
    const allowed = hello.policy["max_in_flight"];
    this.#outbox.attach((text) => link.send(text), typeof allowed === "number" ? allowed : IN_FLIGHT);
    for (const follow of this.#follows.values()) follow.open();
    this.#first?.resolve(hello);
    this.#first = null;
    this.#emit("state", this.#state);
  }

  #event(frame: EventFrame): void {
    if (frame.event === "shutdown") this.#shutdown = true;
    if (frame.event === "heartbeat") this.#heartbeat(frame);
    else if (frame.session_id !== undefined) this.#followOf(frame.session_id)?.receive(frame);
    this.#emit(frame.event, frame);
    this.#emit("*", frame);
  }

  #heartbeat(frame: EventFrame): void {
    const heads = (frame.payload["heads"] ?? {}) as Record<string, [string, number]>;
    for (const [name, [epoch, head]] of Object.entries(heads)) this.#followOf(name)?.heartbeat(epoch, head);
  }

  #followOf(name: string): Follow | undefined {
    const direct = this.#follows.get(name);
    if (direct?.name === name) return direct;
    return [...this.#follows.values()].find((follow) => follow.name === name);
  }

  #lost(end: LinkEnd): void {
    this.#link = null;
    if (this.state === "closed") return;
    const error = this.#whyLost(end);
    const now = performance.now();
    const verdict = this.#admission?.lost(error, now) ?? null;
    // Whoever was told the code may have left.
    if (this.#state.state === "closed") return;
    if (verdict?.kind === "over") return this.#close(verdict.error);
    // Before the first handshake the caller decides whether to try again.
    const comes_back = verdict !== null || (this.#first === null && comesBack(end.code));
    if (!comes_back) return this.#close(error);
    this.#outbox.detach();
    for (const follow of this.#follows.values()) follow.suspend();
    this.#reconnect.lost(now, end.code === 1012 || this.#shutdown);
    const wait = verdict?.wait_ms ?? this.#reconnect.next(now);
    this.#timer = setTimeout(() => this.#open(), wait);
    const state = this.#first === null ? "reconnecting" : "connecting";
    this.#state = { state, error, retry_in_ms: Math.round(wait) };
    this.#emit("state", this.#state);
    return undefined;
  }

  #whyLost({ code, reason, refusal, was_ready }: LinkEnd): ClientError {
    if (refusal !== null) return refusal;
    const why = reason === "" ? `close code ${code}` : reason;
    if (!was_ready)
      return new ClientError("UNREACHABLE", `no gateway answers at ${this.#url} (${why})`, {
        retryable: true,
      });
    const closed = `the gateway closed the connection (${why})`;
    return new ClientError(meaningOf(code), closed, { retryable: comesBack(code) });
  }

  /** Over, until connect() is called again. */
  #close(error: ClientError): void {
    clearTimeout(this.#timer);
    this.#state = { state: "closed", error };
    this.#link?.close(1000);
    this.#link = null;
    this.#outbox.fail(error);
    for (const follow of this.#follows.values()) follow.end(error);
    this.#first?.reject(error);
    this.#first = null;
    this.#emit("state", this.#state);
  }

  #emit(event: string, value: unknown): void {
    for (const listener of this.#listeners.get(event) ?? []) listener(value as never);
  }
}

function closedError(why: ClientError | undefined): ClientError {
  return why ?? new ClientError("CLOSED", "not connected: call connect() first");
}
