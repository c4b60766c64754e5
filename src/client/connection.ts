import type { EventFrame } from "../protocol/frames.ts";
import type { ClientError } from "./error.ts";
import { AbortedError, ConnectionError } from "./error.ts";
import type { Link, LinkEnd } from "./link.ts";
import type { Hello, MethodName, ParamsFor, ResultFor } from "./methods.ts";
import type { ClientOptions } from "./options.ts";
import type { Answered } from "./outbox.ts";
import { Outbox } from "./outbox.ts";
import type { PageScope } from "./page.ts";
import { watchPage } from "./page.ts";
import { Pulse } from "./pulse.ts";
import { comesBack, createReconnect } from "./reconnect.ts";
import { whyLost } from "./why-lost.ts";
import type { RequestOptions } from "./request.ts";
import type { Http } from "./http.ts";
import { ask } from "./request.ts";
import type { SubscribeOptions, Subscription, SubscriptionHandlers } from "./subscription.ts";
import { Follow } from "./subscription.ts";
import { tell } from "./tell.ts";
import { Way } from "./way.ts";

/** `retry_in_ms` is there while the next attempt is waited for: of a lost connection, or of a device that asks to be let in. */
export interface ClientState {
  readonly state: "idle" | "connecting" | "connected" | "reconnecting" | "closed";
  readonly error?: ClientError;
  readonly retry_in_ms?: number;
}

export interface ConnectOptions {
  /** Where no gateway answers, goes on trying as after a lost connection. Default: fails at once. */
  readonly retry?: boolean;
  /** Disconnects, while it is not connected yet. */
  readonly signal?: AbortSignal;
}

/** Somebody who waits for the first handshake. */
interface First {
  readonly retry: boolean;
  resolve(hello: Hello): void;
  reject(error: ClientError): void;
}

const IN_FLIGHT = 16;
const RECONNECT_DELAY_SECS = 5;
const RECONNECT_ATTEMPTS = 10;
const HEARTBEAT_SECS = 30;
const REQUEST_TIMEOUT_SECS = 30;
/** How long run.wait waits where it is not told. */
const RUN_WAIT_MS = 60_000;

/** The connection to one gateway through all its links: what is asked over it, and what is followed. */
export class Connection {
  readonly #options: ClientOptions;
  readonly #way: Way;
  readonly #random: () => number;
  readonly #outbox = new Outbox();
  readonly #follows = new Map<string, Follow>();
  readonly #listeners = new Map<string, Set<(value: never) => void>>();
  readonly #reconnect;
  readonly #scope: PageScope;
  #state: ClientState = { state: "idle" };
  #hello: Hello | null = null;
  #link: Link | null = null;
  #pulse: Pulse | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** The gateway said on this link that it is going down. */
  #shutdown = false;
  /** It is closed because there were too many attempts: a network that is back is a reason for more. */
  #gave_up = false;
  #first: First | null = null;
  #leavePage: () => void = () => undefined;

  /** `scope`: whose events tell of the network. */
  constructor(options: ClientOptions, scope: PageScope = globalThis) {
    this.#options = options;
    this.#way = new Way(options);
    this.#scope = scope;
    this.#random = options.random ?? Math.random;
    this.#reconnect = createReconnect({
      delay_ms: (options.reconnect_delay ?? RECONNECT_DELAY_SECS) * 1_000,
      max_attempts: options.max_reconnect_attempts ?? RECONNECT_ATTEMPTS,
      random: this.#random,
    });
  }

  /** The way over HTTP, which is there beside a socket too. */
  http(): Promise<Http> {
    return this.#way.http();
  }
  get state(): ClientState["state"] {
    return this.#state.state;
  }
  get hello(): Hello | null {
    return this.#hello;
  }

  connect({ retry = false, signal }: ConnectOptions = {}): Promise<Hello> {
    if (this.state !== "idle" && this.state !== "closed") throw new Error("connect() was called already");
    if (signal?.aborted === true) return Promise.reject(new AbortedError());
    const stop = (): void => this.#close(new AbortedError());
    signal?.addEventListener("abort", stop, { once: true });
    const shaken = new Promise<Hello>((resolve, reject) => {
      this.#first = { retry, resolve, reject };
      this.#leavePage();
      this.#leavePage = watchPage(this.#scope, {
        online: () => this.#online(),
        visible: () => this.#visible(),
      });
      this.#reconnect.renew();
      this.#setState({ state: "connecting" }, () => this.#open());
    });
    return shaken.finally(() => signal?.removeEventListener("abort", stop));
  }

  request<M extends MethodName>(
    method: M,
    params: ParamsFor<M>,
    options: RequestOptions = {},
  ): Promise<ResultFor<M>> {
    if (this.state === "idle" || this.state === "closed")
      return Promise.reject(closedError(this.#state.error));
    const { signal, timeout_ms = this.#patience(method, params) } = options;
    return ask(this.#outbox, method, params, { signal, timeout_ms }) as Promise<ResultFor<M>>;
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
    if (this.state === "idle" || (this.state === "closed" && !this.#gave_up)) return;
    this.#close(new AbortedError("disconnected by the caller"));
  }

  /** How long a request is waited for: one that waits itself has as much more. */
  #patience(method: string, params: object): number {
    const patience_ms = (this.#options.request_timeout ?? REQUEST_TIMEOUT_SECS) * 1_000;
    if (method !== "run.wait" || patience_ms === 0) return patience_ms;
    const { timeout_ms } = params as { timeout_ms?: number };
    return patience_ms + (timeout_ms ?? RUN_WAIT_MS);
  }

  #open(): void {
    this.#shutdown = false;
    const link = this.#way.open({
      ready: (hello) => this.#ready(hello, link),
      answer: (frame) => {
        this.#pulse?.heard();
        this.#outbox.receive(frame);
      },
      event: (frame) => {
        this.#pulse?.heard();
        this.#event(frame);
      },
      closed: (end) => this.#lost(end),
    });
    this.#link = link;
  }

  #ready(hello: Hello, link: Link): void {
    this.#hello = hello;
    this.#reconnect.connected(performance.now());
    this.#pulse = this.#listen(link);
    this.#setState({ state: "connected" }, () => {
      const allowed = hello.policy["max_in_flight"];
      this.#outbox.attach((text) => link.send(text), typeof allowed === "number" ? allowed : IN_FLIGHT);
      for (const follow of this.#follows.values()) follow.open();
      this.#first?.resolve(hello);
      this.#first = null;
    });
  }

  #listen(link: Link): Pulse {
    const unheard: Answered = { ok: () => undefined, failed: () => undefined };
    return new Pulse({
      quiet_ms: (this.#options.heartbeat_interval ?? HEARTBEAT_SECS) * 1_000,
      expecting: () => this.#outbox.expecting || [...this.#follows.values()].some(({ active }) => active),
      ask: () => void this.#outbox.add("heartbeat", {}, unheard),
      dead: () => link.close(1006),
    });
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

  /** The machine has a network again: what was waited for may be there now, and what is open may be dead. */
  #online(): void {
    this.#reconnect.renew();
    this.#way.renew();
    if (this.state === "connected") return this.#pulse?.check();
    if (this.#gave_up || (this.#link === null && this.state !== "closed")) this.#tryAgain(0, undefined);
  }

  /** Timers of a page that nobody looks at hardly run. */
  #visible(): void {
    if (this.state === "connected") this.#pulse?.check();
    else if (this.state === "reconnecting" && this.#link === null) this.#tryAgain(0, this.#state.error);
  }

  #lost(end: LinkEnd): void {
    this.#link = null;
    this.#pulse?.stop();
    this.#pulse = null;
    if (this.state === "closed") return;
    const error = whyLost(this.#way.url, end);
    const now = performance.now();
    const verdict = this.#way.lost(error, now);
    // Whoever was told the code may have left.
    if (this.#state.state === "closed") return;
    if (verdict?.kind === "over") return this.#close(verdict.error);
    // Before the first handshake the caller says whether to try again.
    const { auto_reconnect = true } = this.#options;
    const wanted = auto_reconnect && (this.#first === null || this.#first.retry) && comesBack(end.code);
    if (verdict === null && !wanted) return this.#close(error);
    this.#outbox.detach();
    for (const follow of this.#follows.values()) follow.suspend();
    this.#reconnect.lost(now, end.code === 1012 || this.#shutdown);
    const wait = verdict?.wait_ms ?? this.#reconnect.next(now);
    if (wait === null) return this.#close(error, true);
    return this.#tryAgain(Math.max(wait, end.refusal?.retry_after_ms ?? 0), error);
  }

  #tryAgain(wait_ms: number, error: ClientError | undefined): void {
    this.#gave_up = false;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#open(), wait_ms);
    const state = this.#first === null ? "reconnecting" : "connecting";
    this.#setState({ state, ...(error && { error }), retry_in_ms: Math.round(wait_ms) });
  }

  /** Over, until connect() is called again, or there is a network again where that may be why. */
  #close(error: ClientError, gave_up = false): void {
    clearTimeout(this.#timer);
    this.#gave_up = gave_up;
    if (!gave_up) this.#leavePage();
    this.#setState({ state: "closed", error }, () => {
      this.#pulse?.stop();
      this.#link?.close(1000);
      this.#link = null;
      this.#way.close();
      this.#outbox.fail(error);
      for (const follow of this.#follows.values()) follow.end(error);
      this.#first?.reject(error);
      this.#first = null;
    });
  }

  /** Told once what follows from it was done. */
  #setState(state: ClientState, then: () => void = () => undefined): void {
    this.#state = state;
    then();
    this.#emit("state", state);
  }

  #emit(event: string, value: unknown): void {
    tell(this.#listeners.get(event) ?? [], value as never);
  }
}

function closedError(why: ClientError | undefined): ClientError {
  return why ?? new ConnectionError("CLOSED", "not connected: call connect() first", false);
}
