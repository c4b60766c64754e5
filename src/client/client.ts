import type { Attachment } from "../protocol/api/attachment.ts";
import type { EventFrame } from "../protocol/frames.ts";
import type { ClientState, ConnectOptions } from "./connection.ts";
import { Connection } from "./connection.ts";
import type { EventOf } from "./events.ts";
import { Feed } from "./feed.ts";
import type { FileContent, UploadOptions } from "./files.ts";
import type { Files } from "./files.ts";
import type { Hello, MethodName, ParamsFor, ResultFor } from "./methods.ts";
import type { ClientOptions } from "./options.ts";
import { randomId } from "./options.ts";
import type { RequestOptions } from "./request.ts";
import type { ClientSession } from "./session.ts";
import { FollowedSession } from "./session.ts";
import { GatewayError } from "./error.ts";
import type { Kept } from "./kept.ts";
import { FoldedState } from "./state.ts";
import type { SubscribeOptions, Subscription, SubscriptionHandlers } from "./subscription.ts";

export interface Client {
  readonly state: ClientState["state"];
  /** What the gateway said at the last handshake. */
  readonly hello: Hello | null;
  /**
   * Resolves with the first handshake; later losses are repaired without a word but "state". A device with `onPairing`
   * waits here until somebody approves it; FORBIDDEN: somebody refused, UNAUTHORIZED: nobody did in time.
   * @throws ClientError UNREACHABLE, or the gateway's refusal
   */
  connect(options?: ConnectOptions): Promise<Hello>;
  /**
   * One method. Waits for a connection where there is none just now. A request with an idempotency_key survives the
   * loss of the connection: it is sent again.
   * @throws ClientError the gateway's answer, CLOSED, TIMEOUT, ABORTED
   * @example const { run_id } = await client.request("chat.send", { message: "hi", idempotency_key: crypto.randomUUID() });
   */
  request<M extends MethodName>(
    method: M,
    params: ParamsFor<M>,
    options?: RequestOptions,
  ): Promise<ResultFor<M>>;
  /** The session of that name, which the first message makes where there is none; without a name a new one. */
  session(session_id?: string): ClientSession;
  /** "state": every change. Otherwise a type of event, or "*" for every event frame. The answer takes it back. */
  on(event: "state", listener: (state: ClientState) => void): () => void;
  on(event: "*", listener: (frame: EventFrame) => void): () => void;
  on<T extends string>(event: T, listener: (frame: EventOf<T>) => void): () => void;
  /**
   * Follows a session with handlers of one's own; session() does it for most. One at a time per session, session() included.
   */
  subscribe(session_id: string, options: SubscribeOptions, handlers: SubscriptionHandlers): Subscription;
  /**
   * Takes a file in, for `attachments` of a message: an image or text. What is not sent with a message is erased after a while.
   * @throws ClientError TOO_LARGE, INVALID_REQUEST, UNREACHABLE, ABORTED
   * @example
   * const { attachment_id } = await client.upload(file);
   * await session.send("What is this?", { attachments: [attachment_id] });
   */
  upload(content: FileContent, options?: UploadOptions): Promise<Attachment>;
  /** A file that a message of the session names; where as many as may be are on their way, it waits. @throws ClientError */
  download(
    session_id: string,
    attachment_id: string,
    options?: { readonly signal?: AbortSignal },
  ): Promise<Blob>;
  /** Ends it; requests that were not answered fail with ABORTED. Idempotent. */
  disconnect(): void;
}

/** A client of one gateway. Needs a WebSocket or fetch and nothing else: browsers, Bun, Deno and Node. */
export function createClient(options: ClientOptions): Client {
  const connection = new Connection(options);
  // Nobody has to say that a session is not needed any more: what uses it holds it.
  const sessions = new Map<string, WeakRef<FollowedSession>>();
  const forgotten = new FinalizationRegistry<string>((session_id) => {
    if (sessions.get(session_id)?.deref() === undefined) sessions.delete(session_id);
  });
  /** Those with messages on their way. */
  const busy = new Set<FollowedSession>();
  const { outbox } = options;
  const kept = outbox && loadKept({ open: outbox, sessionOf: (id) => session(id), GatewayError });
  const keep = (use: (kept: Kept) => void): void => void kept?.then(use, () => undefined);
  const { random = Math.random } = options;
  const request: Client["request"] = (method, params, more) => connection.request(method, params, more);
  const files = (): Promise<Files> => filesOf(connection, options);
  let over = new AbortController();
  connection.on("state", ({ state }) => {
    if (state === "closed") {
      over.abort();
      over = new AbortController();
    }
    for (const session of sessions.values()) session.deref()?.online(state === "connected");
    if (state === "connected") keep((kept) => void kept.of(connection.hello?.auth_info.user ?? ""));
  });

  function open(session_id: string): FollowedSession {
    // The state holds the session, and the feed the state.
    const state: FoldedState = new FoldedState(
      () => session && feed.use(),
      (dismissed) => {
        if (dismissed !== undefined) keep((kept) => kept.remove(dismissed));
        if (state.isPending) busy.add(session);
        else busy.delete(session);
      },
    );
    const feed = new Feed(state, (from, handlers) => connection.subscribe(session_id, from, handlers));
    const isOver = (): boolean => connection.state === "closed";
    const session: FollowedSession = new FollowedSession(session_id, feed, {
      request,
      isOver,
      over: () => over.signal,
      random,
      keep,
    });
    session.online(connection.state === "connected");
    sessions.set(session_id, new WeakRef(session));
    forgotten.register(session, session_id);
    return session;
  }
  const session = (session_id: string): FollowedSession =>
    sessions.get(session_id)?.deref() ?? open(session_id);
  return {
    get state() {
      return connection.state;
    },
    get hello() {
      return connection.hello;
    },
    connect: (how) => connection.connect(how),
    request,
    session: (session_id = `s-${randomId()}`) => session(session_id),
    on: (event: string, listener: (value: never) => void) => connection.on(event, listener),
    subscribe: (session_id, from, handlers) => connection.subscribe(session_id, from, handlers),
    upload: async (content, more) => (await files()).upload(content, more),
    download: async (session_id, attachment_id, more) =>
      (await files()).download(session_id, attachment_id, more?.signal),
    disconnect: () => connection.disconnect(),
  };
}

async function loadKept(deps: ConstructorParameters<typeof Kept>[0]): Promise<Kept> {
  return new (await import("./kept.ts")).Kept(deps);
}

async function filesOf(connection: Connection, { session_token }: ClientOptions): Promise<Files> {
  return (await connection.http()).files({
    hello: () => connection.hello,
    // One that was given is not given back: there must not be another beside it.
    logIn: async () =>
      session_token === undefined ? connection.request("auth_session.create", {}) : { session_token },
  });
}
