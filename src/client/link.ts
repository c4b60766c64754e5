import type { EventFrame, ResponseFrame } from "../protocol/frames.ts";
import type { Challenge } from "./device.ts";
import { CHALLENGE_SUBPROTOCOL, readChallenge } from "./device.ts";
import { ClientError, toClientError } from "./error.ts";
import type { Hello } from "./methods.ts";
import type { ClientOptions, SocketLike } from "./options.ts";

export interface LinkOptions {
  readonly url: string;
  readonly WebSocket: NonNullable<ClientOptions["WebSocket"]>;
  /** Params of `connect`. */
  readonly greeting: Record<string, unknown>;
  /** The field `device` of `connect`, once the gateway has asked; null: it need not ask. */
  readonly prove: ((challenge: Challenge) => Promise<Record<string, unknown>>) | null;
  /** Longest from the first byte to the answer of `connect`. */
  readonly timeout_ms: number;
}

/** Called in order; `ready` at most once, `closed` exactly once and last. */
export interface LinkEvents {
  ready(hello: Hello): void;
  answer(frame: ResponseFrame): void;
  event(frame: EventFrame): void;
  /** `refusal` is the gateway's own word on why, where it gave one. */
  closed(end: LinkEnd): void;
}
export interface LinkEnd {
  readonly code: number;
  readonly reason: string;
  readonly refusal: ClientError | null;
  /** Whether the gateway had answered `connect`. */
  readonly was_ready: boolean;
}

/** One socket, from its handshake to its end. */
export interface Link {
  send(text: string): void;
  close(code: number): void;
}

const GREETING_ID = "connect";
/** How long a refused socket may take to close by itself. */
const REFUSED_MS = 1_000;

export function openLink(options: LinkOptions, events: LinkEvents): Link {
  return new SocketLink(options, events);
}

class SocketLink implements Link {
  readonly #options: LinkOptions;
  readonly #events: LinkEvents;
  readonly #socket: SocketLike;
  #state: "opening" | "greeting" | "refused" | "ready" | "closed" = "opening";
  #refusal: ClientError | null = null;
  #failure = "";
  #timer: ReturnType<typeof setTimeout>;

  constructor(options: LinkOptions, events: LinkEvents) {
    this.#options = options;
    this.#events = events;
    const { url, prove, timeout_ms } = options;
    this.#timer = setTimeout(() => this.#end(1006, `no answer within ${timeout_ms / 1_000} s`), timeout_ms);
    const socket =
      prove === null ? new options.WebSocket(url) : new options.WebSocket(url, CHALLENGE_SUBPROTOCOL);
    this.#socket = socket;
    // A device waits for the challenge.
    socket.addEventListener("open", () => prove === null && this.#greet({}));
    socket.addEventListener("message", ({ data }: MessageEvent) => this.#receive(data));
    // Browsers keep the cause to themselves; the others tell it here, right before the close.
    socket.addEventListener(
      "error",
      (event: Event) => (this.#failure = "message" in event ? causeOf(event.message) : ""),
    );
    // Without a closing handshake Deno has no code.
    socket.addEventListener("close", ({ code, reason }: CloseEvent) =>
      this.#end(code === 0 ? 1006 : code, reason === "" ? this.#failure : reason),
    );
  }

  send(text: string): void {
    this.#socket.send(text);
  }

  close(code: number): void {
    if (code !== 1006) this.#socket.close(code);
    // To a peer that is not there nothing is said.
    else if (this.#socket.terminate !== undefined) this.#socket.terminate();
    this.#end(code, "");
  }

  #receive(data: unknown): void {
    const frame = parse(data);
    if (frame === null || this.#state === "closed") return;
    if (frame.type === "event" && frame.event === "connect.challenge") void this.#challenged(frame);
    else if (frame.type === "event") this.#events.event(frame);
    else if (this.#state === "ready") this.#events.answer(frame);
    else if (frame.id === GREETING_ID) this.#greeted(frame);
  }

  /** Only the first counts: a device signs once per socket. */
  async #challenged(frame: EventFrame): Promise<void> {
    const { prove } = this.#options;
    if (prove === null || this.#state !== "opening") return;
    this.#state = "greeting";
    const challenge = readChallenge(frame);
    if (challenge === null) return this.#end(1002, "the gateway asks for what cannot be signed");
    try {
      this.#greet({ device: await prove(challenge) });
    } catch (error) {
      const unloaded = error instanceof ClientError;
      this.#refusal = unloaded
        ? error
        : new ClientError("UNAUTHORIZED", `the device's key does not sign: ${String(error)}`);
      this.#end(unloaded ? 1006 : 4001, this.#refusal.message);
    }
    return undefined;
  }

  #greet(more: Record<string, unknown>): void {
    // It may have been closed while the device signed.
    if (this.#state === "closed" || this.#socket.readyState !== 1) return;
    this.#state = "greeting";
    const params = { ...this.#options.greeting, ...more };
    this.send(JSON.stringify({ type: "req", id: GREETING_ID, method: "connect", params }));
  }

  #greeted(frame: ResponseFrame): void {
    clearTimeout(this.#timer);
    if (!frame.ok || frame.payload === undefined) {
      this.#state = "refused";
      const refusal = frame.error === undefined ? null : toClientError(frame.error);
      this.#refusal = refusal;
      const code = refusal?.retryable === true ? 1013 : 4000;
      this.#timer = setTimeout(() => this.#end(code, refusal?.message ?? "refused"), REFUSED_MS);
      return;
    }
    this.#state = "ready";
    const hello = frame.payload as Hello;
    this.#events.ready(hello);
  }

  #end(code: number, reason: string): void {
    if (this.#state === "closed") return;
    const was_ready = this.#state === "ready";
    this.#state = "closed";
    clearTimeout(this.#timer);
    if (this.#socket.readyState < 2) this.#socket.close();
    this.#events.closed({ code, reason, refusal: this.#refusal, was_ready });
  }
}

/** Bun says the URL first, which whoever reads it knows. */
function causeOf(message: unknown): string {
  return String(message).replace(/^WebSocket connection to '[^']*' failed: /, "");
}

/** A frame of the gateway; null for anything else, which a client ignores. */
function parse(data: unknown): ResponseFrame | EventFrame | null {
  if (typeof data !== "string") return null;
  let frame: { type?: unknown };
  try {
    frame = JSON.parse(data) as { type?: unknown };
  } catch {
    return null;
  }
  return frame.type === "res" || frame.type === "event" ? (frame as ResponseFrame | EventFrame) : null;
}
