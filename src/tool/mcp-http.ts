import type { JSONRPCMessage, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import type { Clock } from "../core/ports.ts";
import { Intake, MESSAGE_BYTES, TOO_LONG } from "./mcp-intake.ts";
import type { ToolTransport } from "./mcp-link.ts";
import { NotSent } from "./mcp-link.ts";

export interface HttpOptions {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly clock: Clock;
  /** The class of the package, which is loaded only where it is needed. */
  readonly Http: typeof StreamableHTTPClientTransport;
}

/** Time for the server to hear that its session is over. */
const GOODBYE_MS = 1_000;
const AFTER_MS = 1_000;
/** Of the range that JSON-RPC leaves to whoever implements it. */
const ANSWER_LOST = -32_099;
/** How often the stream of what a server says by itself is opened again. */
const STREAM_RETRY = {
  initialReconnectionDelay: 1_000,
  maxReconnectionDelay: 30_000,
  reconnectionDelayGrowFactor: 2,
  maxRetries: 1_000_000,
};
const SESSION_HEADER = "mcp-session-id";
/** Codes of a connection that was never there. */
const UNREACHED = /^(?:ConnectionRefused|ECONNREFUSED|ENOTFOUND|EHOSTUNREACH|ENETUNREACH|EAI_AGAIN|DNS\w*)$/;
/** Statuses whose answer has no body. */
const BODILESS = [101, 204, 205, 304];

/**
 * A tool server reached by streamable HTTP. Around the package's transport it bounds what is read, lets go of a
 * request whose call was given up, and tells what became of the session.
 */
export class HttpTransport implements ToolTransport {
  onclose?: (() => void) | undefined;
  onerror?: ((error: Error) => void) | undefined;
  onmessage?: ToolTransport["onmessage"];
  readonly #inner: StreamableHTTPClientTransport;
  readonly #clock: Clock;
  readonly #intake: Intake;
  /** Requests that wait for their answer, by id. */
  readonly #open = new Map<number | string, AbortController>();
  #trouble: string | null = null;
  #closing: Promise<void> | null = null;

  constructor({ url, headers, clock, Http }: HttpOptions) {
    this.#clock = clock;
    this.#intake = new Intake(clock);
    this.#inner = new Http(new URL(url), {
      requestInit: { headers: { ...headers } },
      fetch: (address, init) => this.#fetch(address, init ?? {}),
      reconnectionOptions: STREAM_RETRY,
    });
    this.#inner.onclose = (): void => this.onclose?.();
    this.#inner.onerror = (error): void => this.onerror?.(error);
    this.#inner.onmessage = (message): void => {
      if (!("method" in message) && message.id !== undefined) this.#answered(message.id);
      this.onmessage?.(message);
    };
  }

  get sessionId(): string | undefined {
    return this.#inner.sessionId;
  }
  get trouble(): string | null {
    return this.#trouble;
  }

  start(): Promise<void> {
    return this.#inner.start();
  }

  setProtocolVersion(version: string): void {
    this.#inner.setProtocolVersion(version);
  }

  async send(message: JSONRPCMessage): Promise<void> {
    if ("method" in message && "id" in message) {
      const given_up = new AbortController();
      this.#open.set(message.id, given_up);
      const onRequestStreamEnd = (): void => this.#cut(message.id);
      try {
        await this.#inner.send(message, { requestSignal: given_up.signal, onRequestStreamEnd });
      } catch (error) {
        this.#open.delete(message.id);
        throw error;
      }
      return;
    }
    try {
      await this.#inner.send(message);
    } finally {
      // Told, or not to be told: the answer is not read any further.
      if ("method" in message && message.method === "notifications/cancelled") {
        const id = message.params?.["requestId"] as number | string;
        this.#open.get(id)?.abort();
        this.#open.delete(id);
      }
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  kill(): void {
    // Nothing of it is on this machine.
  }

  #answered(id: number | string): void {
    const request = this.#open.get(id);
    if (request === undefined) return;
    this.#open.delete(id);
    // What comes after the answer is read for a while, but not for ever.
    this.#clock.after(AFTER_MS, () => request.abort());
  }

  /** The stream that was to bring an answer ended without it, and cannot be taken up again. */
  #cut(id: number | string): void {
    if (!this.#open.delete(id)) return;
    const error = {
      code: ANSWER_LOST,
      message: "the connection broke; whether the call had an effect is unknown",
    };
    this.onmessage?.({ jsonrpc: "2.0", id, error });
  }

  async #close(): Promise<void> {
    const over = Promise.withResolvers<void>();
    const cancel = this.#clock.after(GOODBYE_MS, () => over.resolve());
    // Out of courtesy: a server that does not answer forgets the session by itself.
    if (this.#trouble === null) {
      await Promise.race([over.promise, this.#inner.terminateSession().catch(() => undefined)]);
    }
    cancel();
    await this.#inner.close();
  }

  async #fetch(address: string | URL, init: RequestInit): Promise<Response> {
    const headers = new Headers(init.headers);
    const traceparent = traceparentIn(init.body);
    if (traceparent !== null) headers.set("traceparent", traceparent);
    let response: Response;
    try {
      // A connection of its own: one that was kept may be closed by the server while the request is under way, and
      // then nobody knows whether the tool was called. Silence is bounded by the call, not by fetch.
      response = await fetch(address, { ...init, headers, keepalive: false, timeout: false } as RequestInit);
    } catch (error) {
      const { code = "" } = error as NodeJS.ErrnoException;
      if (!UNREACHED.test(code)) throw error;
      if (init.method === "GET") this.#lose("it cannot be reached");
      throw new NotSent("it cannot be reached", { cause: error });
    }
    if (response.status === 404 && headers.has(SESSION_HEADER) && init.method === "GET") {
      this.#lose("its session ended");
    }
    if (response.body === null || BODILESS.includes(response.status)) return response;
    const isStream = response.headers.get("content-type")?.startsWith("text/event-stream") === true;
    const { status, statusText } = response;
    const body = response.body.pipeThrough(this.#bounded(isStream));
    return new Response(body, { status, statusText, headers: response.headers });
  }

  /** Ends the body where a message in it is too long, or there are too many. */
  #bounded(isStream: boolean): TransformStream<Uint8Array, Uint8Array> {
    let bytes = 0;
    let last = 0;
    return new TransformStream({
      transform: (chunk, controller) => {
        let messages = isStream ? 0 : 1;
        for (const byte of isStream ? chunk : []) {
          // An empty line ends an event.
          if (byte === 10 && last === 10) {
            messages++;
            bytes = 0;
          }
          if (byte !== 13) last = byte;
          bytes++;
        }
        if (!isStream) bytes += chunk.length;
        const wrong = bytes > MESSAGE_BYTES ? TOO_LONG : this.#intake.take(messages, chunk.length);
        if (wrong === null) return controller.enqueue(chunk);
        controller.error(new Error(wrong));
        this.#lose(wrong);
      },
    });
  }

  /** It cannot be used any more. Who is in the middle of a request hears of that first. */
  #lose(trouble: string): void {
    if (this.#trouble !== null) return;
    this.#trouble = trouble;
    this.#clock.after(0, () => void this.close());
  }
}

/** What stands in a call for the server itself is for whatever is before it, too. */
function traceparentIn(body: unknown): string | null {
  if (typeof body !== "string" || !body.includes('"traceparent"')) return null;
  const { params } = JSON.parse(body) as { params?: { _meta?: { traceparent?: unknown } } };
  const traceparent = params?._meta?.traceparent;
  return typeof traceparent === "string" ? traceparent : null;
}
