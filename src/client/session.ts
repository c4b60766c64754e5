import type { Message } from "../protocol/entities.ts";
import { ClientError } from "./error.ts";
import type { SessionEvent } from "./events.ts";
import type { Feed } from "./feed.ts";
import type { MethodName, ParamsFor, ResultFor } from "./methods.ts";
import { randomId } from "./options.ts";
import type { EventsOptions } from "./reader.ts";
import { readEvents } from "./reader.ts";
import { backoffMs } from "./reconnect.ts";
import type { RequestOptions } from "./request.ts";
import { pause, turn } from "./request.ts";
import type { FoldedState, SendChoices, SessionState } from "./state.ts";
import type { Kept } from "./kept.ts";

export interface SendOptions extends RequestOptions, SendChoices {
  /** Default: a random one. With the same key a message is taken once, however often it is sent. */
  readonly idempotency_key?: string;
}

/** What the gateway made of a message. Its epoch and seq are a cursor: the answer comes after it. */
export type Sent = ResultFor<"chat.send">;

/** One session of a client. There is one object for each, however often it is asked for. */
export interface ClientSession {
  readonly session_id: string;
  /** What is known of it, to be shown. */
  readonly state: SessionState;
  /**
   * Sends a message, once, after those that were sent before: it waits for a connection, and is sent again after one was lost
   * until the gateway has it. Makes the session where there is none. Resolves when the message is on the gateway's disk; the answer comes as events.
   * @throws ClientError the gateway's refusal, ABORTED, CLOSED once the client has given up
   */
  send(message: string, options?: SendOptions): Promise<Sent>;
  /**
   * The events of the session, in order, each once, through lost connections and restarts. The first is session.snapshot, unless
   * `after` says where to begin; where too much was missed a snapshot comes in between.
   * @throws ClientError why it ended
   * @example
   * const sent = await session.send("hello");
   * for await (const { event, payload } of session.events({ after: sent, until: sent.run_id })) {
   *   if (event === "message.delta") console.log(payload.text);
   * }
   */
  events(options?: EventsOptions): AsyncGenerator<SessionEvent, void, undefined>;
  /** A page of its history, oldest first. @throws ClientError */
  messages(
    page?: { readonly limit?: number; readonly before?: string; readonly after?: string } & RequestOptions,
  ): Promise<ResultFor<"chat.history">>;
  /** Brings the next older messages into the state, while it says `has_more`. @throws ClientError */
  loadOlder(options?: { readonly limit?: number } & RequestOptions): Promise<void>;
  /** Stops a run, or all of them. @throws ClientError */
  abort(
    options?: { readonly run_id?: string; readonly queued?: "cancel" | "keep" } & RequestOptions,
  ): Promise<ResultFor<"chat.abort">>;
  /** Answers a call of a tool that waits, once. @throws ClientError CONFLICT: somebody was faster */
  approve(
    approval_id: string,
    decision: "allow" | "deny",
    options?: { readonly remember?: "session" } & RequestOptions,
  ): Promise<ResultFor<"tool.approve">>;
}

interface SessionDeps {
  readonly request: <M extends MethodName>(
    method: M,
    params: ParamsFor<M>,
    options?: RequestOptions,
  ) => Promise<ResultFor<M>>;
  /** Whether the client has given up. */
  readonly isOver: () => boolean;
  /** Aborted when it gives up, or is disconnected. */
  readonly over: () => AbortSignal;
  readonly random: () => number;
  /** For what keeps messages from one life to the next, where something does. */
  readonly keep: (use: (kept: Kept) => void) => void;
}

const OLDER = 50;
const AGAIN_MS = 500;
/** The gateway did nothing, or what it did it will not do again. */
const SEND_AGAIN: ReadonlySet<string> = new Set(["UNAVAILABLE", "RATE_LIMITED", "CLOSED"]);

export class FollowedSession implements ClientSession {
  readonly session_id: string;
  readonly state: FoldedState;
  readonly #feed: Feed;
  readonly #deps: SessionDeps;
  /** Ends with the last message that is on its way; null: none is. */
  #line: Promise<void> | null = null;

  constructor(session_id: string, feed: Feed, deps: SessionDeps) {
    this.session_id = session_id;
    this.state = feed.state;
    this.#feed = feed;
    this.#deps = deps;
  }

  async send(
    message: string,
    { signal, timeout_ms = 0, idempotency_key = randomId(), ...options }: SendOptions = {},
    created_at = Date.now(),
  ): Promise<Sent> {
    const { state, session_id } = this;
    const { keep } = this.#deps;
    const keeping = { session_id, message, idempotency_key, created_at, options };
    const params = { session_id, message, idempotency_key, subscribe: false, ...options };
    keep((kept) => kept.put(keeping));
    state.queued(idempotency_key, message, options, created_at);
    try {
      const sent = await this.#inTurn({ signal, timeout_ms }, (options) =>
        this.#untilTaken("chat.send", params, options),
      );
      keep((kept) => kept.remove(idempotency_key));
      state.accepted(idempotency_key, sent, this.#feed.used);
      // There may have been no such session before.
      this.#feed.open();
      return sent;
    } catch (error) {
      const withdrawn = error instanceof ClientError && error.code === "ABORTED" && signal?.aborted === true;
      if (withdrawn) state.dismiss(idempotency_key);
      else if (error instanceof ClientError) {
        keep((kept) => kept.failed(keeping, error));
        state.failed(idempotency_key, error);
      }
      throw error;
    }
  }

  /** Whether there is a connection. What had to end without one goes on. */
  online(online: boolean): void {
    this.state.online(online);
    if (online) this.#feed.open();
  }

  events(options: EventsOptions = {}): AsyncGenerator<SessionEvent, void, undefined> {
    return readEvents(this.#feed, this.session_id, options);
  }

  messages(page: Parameters<ClientSession["messages"]>[0] = {}): Promise<ResultFor<"chat.history">> {
    const { signal, timeout_ms, ...params } = page;
    const asked = { session_id: this.session_id, ...params };
    return this.#deps.request("chat.history", asked, { signal, timeout_ms });
  }

  async loadOlder(options: Parameters<ClientSession["loadOlder"]>[0] = {}): Promise<void> {
    const { limit = OLDER, ...waiting } = options;
    const [oldest] = this.state.getSnapshot().messages;
    const before = oldest === undefined ? {} : { before: oldest.message_id };
    const { messages, has_more } = await this.messages({ limit, ...before, ...waiting });
    this.state.prepend(messages satisfies Message[], has_more);
  }

  abort(options: Parameters<ClientSession["abort"]>[0] = {}): Promise<ResultFor<"chat.abort">> {
    const { signal, timeout_ms, ...params } = options;
    const which = params.run_id === undefined ? { session_id: this.session_id } : {};
    return this.#deps.request("chat.abort", { ...which, ...params }, { signal, timeout_ms });
  }

  approve(
    approval_id: string,
    decision: "allow" | "deny",
    options: Parameters<ClientSession["approve"]>[2] = {},
  ): Promise<ResultFor<"tool.approve">> {
    const { signal, timeout_ms = 0, ...more } = options;
    const { session_id } = this;
    const params = { session_id, approval_id, decision, idempotency_key: randomId(), ...more };
    return this.#untilTaken("tool.approve", params, { signal, timeout_ms });
  }

  /** Messages are taken in the order they were sent in: one that is tried again, or goes by another line, is waited for. */
  async #inTurn<T>(options: RequestOptions, task: (options: RequestOptions) => Promise<T>): Promise<T> {
    const before = this.#line;
    const done = before === null ? task(options) : turn(before, options).then(() => task(options));
    const line = Promise.allSettled([before, done]).then(() => {
      if (this.#line === line) this.#line = null;
    });
    this.#line = line;
    return done;
  }

  /** A request with a key is safe to send until the gateway has taken it. */
  async #untilTaken<M extends "chat.send" | "tool.approve">(
    method: M,
    params: ParamsFor<M>,
    options: RequestOptions,
  ): Promise<ResultFor<M>> {
    for (let attempt = 0; ; attempt++) {
      try {
        return await this.#deps.request(method, params, options);
      } catch (error) {
        const again = error instanceof ClientError && error.retryable && SEND_AGAIN.has(error.code);
        if (!again || this.#deps.isOver()) throw error;
        await this.#pause(error.retry_after_ms ?? backoffMs(attempt, AGAIN_MS, this.#deps.random), options);
      }
    }
  }

  /** Not longer than there is a client: what is asked next says why there is none. */
  async #pause(ms: number, { signal }: RequestOptions): Promise<void> {
    const over = this.#deps.over();
    const stop = signal === undefined ? over : AbortSignal.any([over, signal]);
    await pause(ms, stop).catch((error: unknown) => {
      if (signal?.aborted === true) throw error;
    });
  }
}
