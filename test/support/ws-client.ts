import type { ErrorBody } from "../../src/protocol/errors.ts";

/** A frame as it came: its bytes, and what they say. */
export interface ReceivedFrame {
  readonly raw: string;
  // oxlint-disable-next-line typescript/no-explicit-any -- a test looks wherever it likes
  readonly json: any;
}

/** What `request` rejects with: the error body of the answer, as an Error. */
export class RefusedRequest extends Error implements ErrorBody {
  readonly code: string;
  readonly status: number;
  readonly retryable: boolean;
  declare readonly details?: Record<string, unknown>;
  declare readonly retry_after_ms?: number;

  constructor(body: ErrorBody) {
    super(body.message);
    this.code = body.code;
    this.status = body.status;
    this.retryable = body.retryable;
    if (body.details !== undefined) this.details = body.details;
    if (body.retry_after_ms !== undefined) this.retry_after_ms = body.retry_after_ms;
  }
}

export interface TestSocket extends AsyncDisposable {
  /** The subprotocol the gateway selected; "" for none. */
  readonly protocol: string;
  /** Every frame so far, oldest first. */
  readonly frames: readonly ReceivedFrame[];
  readonly closed: Promise<{ code: number; reason: string }>;
  /** Sends a request under an id of its own; the payload. Rejects with RefusedRequest, or when the socket closes first. */
  // oxlint-disable-next-line typescript/no-explicit-any -- as above
  request(method: string, params?: Record<string, unknown>): Promise<any>;
  /** Sends text as it is, anything else as JSON. */
  send(frame: unknown): void;
  /** The first frame that passes, among those after the one `next` answered last. Rejects after `timeout_ms`. */
  next(predicate: (frame: ReceivedFrame) => boolean, timeout_ms?: number): Promise<ReceivedFrame>;
  /** The next event of that name. */
  nextEvent(event: string, timeout_ms?: number): Promise<ReceivedFrame>;
  close(code?: number): void;
}

export interface SocketSetup {
  readonly headers?: Record<string, string>;
  readonly protocols?: readonly string[];
  readonly tls?: Bun.TLSOptions;
}

// With the DOM's types loaded, the constructor has lost Bun's options.
const BunWebSocket = WebSocket as unknown as new (url: string, options: Bun.WebSocketOptions) => WebSocket;

/** A bare WebSocket client: it sends what it is told and keeps what it gets. Rejects when the upgrade is refused. */
export async function openSocket(url: string, setup: SocketSetup = {}): Promise<TestSocket> {
  const socket = new BunWebSocket(url.replace(/^http/, "ws"), {
    headers: setup.headers ?? {},
    protocols: [...(setup.protocols ?? [])],
    ...(setup.tls !== undefined && { tls: setup.tls }),
  });
  const inbox = new Inbox();
  const closing = Promise.withResolvers<{ code: number; reason: string }>();
  const opening = Promise.withResolvers<void>();
  let requests = 0;

  socket.addEventListener("open", () => opening.resolve());
  socket.addEventListener("message", ({ data }) => inbox.add(String(data)));
  socket.addEventListener("close", ({ code, reason }) => {
    opening.reject(new Error(`the upgrade was refused (${code} ${reason})`));
    inbox.end(new Error(`the socket is closed: ${code} ${reason}`));
    closing.resolve({ code, reason });
  });
  // The close event that follows says the same.
  socket.addEventListener("error", () => undefined);
  await opening.promise;

  function send(frame: unknown): void {
    socket.send(typeof frame === "string" ? frame : JSON.stringify(frame));
  }

  async function request(method: string, params?: Record<string, unknown>): Promise<unknown> {
    const id = `t${++requests}`;
    const answer = inbox.answerTo(id);
    send({ type: "req", id, method, ...(params !== undefined && { params }) });
    const { json } = await answer;
    if (json.ok !== true) throw new RefusedRequest(json.error);
    return json.payload;
  }

  return {
    get protocol() {
      return socket.protocol;
    },
    frames: inbox.frames,
    closed: closing.promise,
    request,
    send,
    next: (predicate, timeout_ms) => inbox.next(predicate, timeout_ms),
    nextEvent: (event, timeout_ms) =>
      inbox.next(({ json }) => json.type === "event" && json.event === event, timeout_ms),
    close: (code = 1000) => socket.close(code),
    async [Symbol.asyncDispose]() {
      socket.close();
      await closing.promise;
    },
  };
}

interface Waiter {
  /** True once it has what it waits for. */
  offer(): boolean;
  reject(error: Error): void;
}

/** What came, and who waits for what is still to come. */
class Inbox {
  readonly frames: ReceivedFrame[] = [];
  readonly #answers = new Map<string, PromiseWithResolvers<ReceivedFrame>>();
  readonly #waiters = new Set<Waiter>();
  /** Frames that `next` has passed. */
  #passed = 0;
  #ended: Error | null = null;

  add(raw: string): void {
    const frame = { raw, json: JSON.parse(raw) };
    this.frames.push(frame);
    const { type, id } = frame.json;
    if (type === "res") this.#answers.get(id)?.resolve(frame);
    for (const waiter of this.#waiters) if (waiter.offer()) this.#waiters.delete(waiter);
  }

  end(error: Error): void {
    this.#ended = error;
    for (const waiter of [...this.#waiters, ...this.#answers.values()]) waiter.reject(error);
    this.#waiters.clear();
  }

  answerTo(id: string): Promise<ReceivedFrame> {
    if (this.#ended !== null) return Promise.reject(this.#ended);
    const answer = Promise.withResolvers<ReceivedFrame>();
    this.#answers.set(id, answer);
    return answer.promise.finally(() => this.#answers.delete(id));
  }

  async next(predicate: (frame: ReceivedFrame) => boolean, timeout_ms = 5_000): Promise<ReceivedFrame> {
    const found = Promise.withResolvers<ReceivedFrame>();
    const waiter: Waiter = {
      offer: () => {
        const at = this.frames.findIndex((frame, index) => index >= this.#passed && predicate(frame));
        const frame = this.frames[at];
        if (frame === undefined) return false;
        this.#passed = at + 1;
        found.resolve(frame);
        return true;
      },
      reject: found.reject,
    };
    if (waiter.offer()) return found.promise;
    if (this.#ended !== null) throw this.#ended;
    this.#waiters.add(waiter);
    const timer = setTimeout(() => {
      this.#waiters.delete(waiter);
      found.reject(new Error(`no such frame within ${timeout_ms} ms; ${this.#summary()}`));
    }, timeout_ms);
    return found.promise.finally(() => clearTimeout(timer));
  }

  #summary(): string {
    const last = this.frames.slice(-3).map(({ raw }) => raw.slice(0, 200));
    return `${this.frames.length} came, the last:\n${last.join("\n")}`;
  }
}

/** An upgrade request whose answer is wanted: for those that are refused. */
export function requestUpgrade(
  url: string,
  headers: Record<string, string> = {},
  tls?: Bun.TLSOptions,
): Promise<Response> {
  return fetch(url.replace(/^ws/, "http"), {
    headers: {
      connection: "Upgrade",
      upgrade: "websocket",
      "sec-websocket-version": "13",
      "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
      ...headers,
    },
    ...(tls !== undefined && { tls }),
  });
}
