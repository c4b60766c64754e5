import type { Transport } from "../support/watcher.ts";
import { Violation } from "../support/watcher.ts";

// With the DOM's types loaded, the constructor has lost Bun's options.
type BunSocket = WebSocket & { terminate(): void };
const BunWebSocket = WebSocket as unknown as new (url: string, options: Bun.WebSocketOptions) => BunSocket;

export interface SendOptions {
  /** Where to connect, http://host:port; asked before every attempt, and may wait. */
  readonly route: () => string | Promise<string>;
  readonly token: string;
  /** Sent with every request besides, such as the Host a proxy hides. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly method: "chat.send" | "chat.inject";
  /** With an idempotency_key: it is sent until it is answered. */
  readonly params: Readonly<Record<string, unknown>> & {
    readonly session_id: string;
    readonly idempotency_key: string;
  };
  /** Over what: "sse" stands for REST. */
  readonly transport: (attempt: number) => Transport;
  /** How long an answer may take; longer with every attempt. */
  readonly stall_ms: number;
  readonly signal?: AbortSignal;
}

export interface Answered {
  readonly session_id: string;
  readonly message_id: string;
  readonly run_id: string;
  readonly status: string;
  readonly epoch: string;
  readonly seq: number;
}

export interface Sent {
  readonly answer: Answered;
  readonly attempts: number;
  /** What the socket that was answered got of the session afterwards, by `<epoch>.<seq>`; grows until leave(). */
  readonly followed: ReadonlyMap<string, string>;
  /** Why what it got was not what it had to get; null: nothing was wrong. */
  readonly wrong: () => string | null;
  leave(): void;
}

/** Sends one request until it is answered, as a client does that cannot know whether it arrived. */
export async function sendUntilAnswered(options: SendOptions): Promise<Sent> {
  for (let attempt = 0; ; attempt++) {
    const url = await options.route();
    options.signal?.throwIfAborted();
    // A machine that is busy is given more time.
    const patient = { ...options, stall_ms: options.stall_ms * 2 ** Math.min(attempt, 3) };
    const over = options.transport(attempt) === "ws" ? overSocket : overRest;
    const sent = await over(patient, url);
    if (sent !== null) return { ...sent, attempts: attempt + 1 };
    await Bun.sleep(Math.min(5 * 2 ** attempt, 250));
  }
}

type Once = Omit<Sent, "attempts"> | null;

async function overRest(options: SendOptions, url: string): Promise<Once> {
  const { token, method, params, stall_ms } = options;
  const { idempotency_key, ...body } = params;
  let response: Response;
  let text: string;
  try {
    response = await fetch(`${url}/api/v1/rpc/${method}`, {
      method: "POST",
      headers: {
        authorization: `Bearer ${token}`,
        "content-type": "application/json",
        "idempotency-key": idempotency_key,
        ...options.headers,
      },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(stall_ms),
      keepalive: false,
    });
    text = await response.text();
  } catch {
    // The outcome is open: the same request again.
    return null;
  }
  if (response.status === 503 || response.status === 429) return null;
  if (!response.ok) throw new Error(`${method}: ${response.status} ${text}`);
  const answer = JSON.parse(text) as Answered;
  return { answer, followed: new Map(), wrong: () => null, leave: () => undefined };
}

function overSocket(options: SendOptions, url: string): Promise<Once> {
  const { token, method, params, stall_ms } = options;
  const headers = { authorization: `Bearer ${token}`, ...options.headers };
  const socket = new BunWebSocket(`${url.replace(/^http/, "ws")}/ws`, { headers });
  const followed = new Map<string, string>();
  let wrong: string | null = null;
  let answer: (Answered & { readonly from?: number }) | null = null;
  let last = 0;
  const { promise, resolve, reject } = Promise.withResolvers<Once>();
  const give_up = setTimeout(() => {
    socket.terminate();
    resolve(null);
  }, stall_ms);

  function take(raw: string): void {
    const frame = JSON.parse(raw);
    if (frame.type === "res") {
      clearTimeout(give_up);
      if (frame.ok !== true) {
        socket.terminate();
        if (frame.error.retryable === true || frame.error.code === "UNAVAILABLE") return resolve(null);
        return reject(new Violation(`${method}: ${raw}`));
      }
      answer = frame.payload as Answered & { readonly from?: number };
      last = answer.from ?? 0;
      return resolve({ answer, followed, wrong: () => wrong, leave: () => socket.terminate() });
    }
    if (frame.seq === undefined || wrong !== null) return undefined;
    // The answer is the first frame about the request; then everything after `from`, one by one.
    if (answer === null) wrong = `${frame.event} ${frame.seq} before the answer`;
    else if (frame.epoch !== answer.epoch || frame.seq !== last + 1) {
      wrong = `${frame.event} ${frame.epoch}.${frame.seq} after ${answer.epoch}.${last}`;
    }
    last = frame.seq;
    followed.set(`${frame.epoch}.${frame.seq}`, raw);
    return undefined;
  }

  socket.addEventListener("open", () =>
    socket.send(JSON.stringify({ type: "req", id: "1", method, params })),
  );
  socket.addEventListener("message", ({ data }) => take(String(data)));
  // The close event that follows says the same.
  socket.addEventListener("error", () => undefined);
  socket.addEventListener("close", () => {
    clearTimeout(give_up);
    resolve(null);
  });
  return promise;
}
